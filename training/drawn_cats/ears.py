"""The ears of a drawn cat: upright, folded, curled or tufted."""

from __future__ import annotations

import numpy as np

from training.drawn_cats.coat import POINTS, WHITE_BASED, Mark, mixed
from training.drawn_cats.geometry import Frame, Points, mirrored, spline
from training.drawn_cats.painter import Fur, Painter, fringe
from training.drawn_cats.traits import Breed, Colour, EarShape, Pattern

_PINK: Colour = (228, 168, 160)
_DEPTH = -0.25


def _by(x: float, y: float) -> Points:
    return np.array([x, y])


def _shapes(breed: Breed) -> tuple[Points, Points]:
    """The right-hand ear, and the inside of it (folded: the lower edge), in head coordinates."""
    ears, t = breed.ears, breed.face.temple
    size, turn = ears.size, ears.spread
    inner = _by(t * (0.16 + 0.1 * turn), -0.7)
    outer = _by(t * (0.96 + 0.04 * turn), -0.3 + 0.24 * turn)
    middle = (inner + outer) / 2
    lean = 0.16 + 0.62 * turn
    tip = middle + size * 0.86 * _by(np.sin(lean), -np.cos(lean))
    if ears.shape is EarShape.FOLDED:
        # The ear bends at a fold above the skull; its tip lies forwards and down on the head.
        first, last, hang = _by(t * 0.26, -0.8), _by(t * 1.08, -0.42), _by(t * 0.76, -0.36)
        fold = spline([first, _by(t * 0.52, -1.02), _by(t * 0.92, -0.86), last], 16)
        flap = spline([last, hang, _by(t * 0.5, -0.56), first], 14)
        return np.concatenate([fold, flap]), flap
    if ears.shape is EarShape.CURLED:
        bend = tip + _by(0.34, 0.2) * size
        knots = [inner, inner * 0.45 + tip * 0.55 + _by(-0.1, 0.0), tip + _by(0.02, 0.02), bend,
                 tip + _by(0.1, 0.3), outer * 0.7 + tip * 0.3, outer]  # fmt: skip
        inside = [inner + _by(0.12, 0.0), tip + _by(0.0, 0.22), outer + _by(-0.1, -0.06)]
        return spline(knots, 34), spline(inside, 14)
    bulge = 0.06 if size < 1.3 else 0.1
    shell = spline(
        [inner, (inner + tip) / 2 + _by(-bulge, -0.03), tip,
         (outer + tip) / 2 + _by(bulge, -0.03), outer], 30,
    )  # fmt: skip
    centre = (inner + outer + tip) / 3
    return shell, centre + (shell - centre) * 0.66 + _by(0.0, 0.07)


def _colour(breed: Breed, side: float, marks: list[Mark]) -> Colour:
    coat = breed.coat
    if coat.pattern in POINTS:
        return coat.mark if coat.pattern is Pattern.POINTED else mixed(coat.ground, coat.mark, 0.8)
    if coat.pattern in WHITE_BASED:
        for mark in marks:  # the patch that reaches the ear on this side
            if mark.polygon[1, 0] * side > 1.0:
                return mark.colour
    return coat.ground


def draw_ears(painter: Painter, breed: Breed, frame: Frame, fur: Fur, marks: list[Mark]) -> None:
    """Both ears. `marks` are the face's, whose patches may reach the ears."""
    shell, inside = _shapes(breed)
    ears = breed.ears
    hairy = fur.hair.shaggy > 0.1 or ears.shape is EarShape.TUFTED
    for side in (-1.0, 1.0):
        colour = _colour(breed, side, marks)

        def put(points: Points, depth: float = _DEPTH, side: float = side) -> Points:
            return frame.place(mirrored(points, side), depth)

        lit = mixed(colour, (255, 255, 255), 0.2 if ears.shape is EarShape.FOLDED else 0.0)
        outline = put(shell)[:: int(side)]
        painter.shape(fringe(outline, fur, painter.rng, 0.35), lit, (), fur, round_share=0.6)
        if ears.shape is EarShape.FOLDED:
            painter.line(put(inside), mixed(colour, (20, 20, 24), 0.45), 0.05 * frame.radius)
            continue
        painter.polygon(put(inside, _DEPTH + 0.05), mixed(_PINK, colour, 0.35))
        if hairy:
            _hair(painter, frame, side, inside, mixed(colour, (250, 246, 238), 0.6))
        if ears.shape is EarShape.TUFTED:
            tip = shell[shell[:, 1].argmin()]
            for spread in (-0.07, 0.0, 0.07):
                tuft = np.array([tip + _by(0, 0.1), tip + _by(spread, -0.3 * ears.size)])
                painter.line(put(tuft), mixed(colour, (20, 18, 18), 0.6), 0.05 * frame.radius)


def _hair(painter: Painter, frame: Frame, side: float, inside: Points, colour: Colour) -> None:
    """The pale hair that grows out of the ear from its inner edge."""
    low = inside[[0, -1]].mean(axis=0)
    top = inside[inside[:, 1].argmin()]
    for share in (0.15, 0.35, 0.55):
        start = inside[0] * (1 - share) + low * share
        hair = np.array([start, start * 0.4 + top * 0.6 + _by(0.02, 0.05)])
        painter.line(frame.place(mirrored(hair, side), _DEPTH), colour, 0.05 * frame.radius)
