"""Marks of the coat on one part of the body, as polygons in the picture's coordinates.

All marks are laid out in the tube coordinates (t, v) of the part, from a generator that belongs
to the animal and the part: one animal keeps its marks in every pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from training.drawn_cats.geometry import Points, Tube, blob, spline
from training.drawn_cats.poses import Belly, Part, Zone
from training.drawn_cats.traits import Breed, Coat, Colour, Hair, Pattern, White

SNOW: Colour = (248, 246, 242)
STRIPED = (Pattern.MACKEREL, Pattern.CLASSIC, Pattern.TORBIE, Pattern.LYNX_POINT)
SPOTTY = (Pattern.SPOTTED, Pattern.ROSETTED)
POINTS = (Pattern.POINTED, Pattern.LYNX_POINT)
WHITE_BASED = (Pattern.CALICO, Pattern.PATCHED, Pattern.VAN)


@dataclass(frozen=True)
class Mark:
    polygon: Points
    colour: Colour


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`share` 0 is the first colour, 1 the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def base_colour(coat: Coat, zone: Zone) -> Colour:
    """The colour under all marks of a part."""
    if zone is Zone.RUFF:
        return _ruff_colour(coat)
    if coat.pattern is Pattern.VAN and zone is Zone.TAIL:
        return coat.second
    if coat.pattern in WHITE_BASED and coat.pattern is not Pattern.PATCHED:
        return SNOW
    return coat.ground


def paw_colour(coat: Coat) -> Colour:
    """The colour of the front of the paws."""
    if coat.white is not White.NONE or coat.pattern in (Pattern.CALICO, Pattern.VAN):
        return SNOW
    return coat.mark if coat.pattern is Pattern.POINTED else coat.ground


def _ruff_colour(coat: Coat) -> Colour:
    if coat.pattern in WHITE_BASED or coat.white in (White.BIB, White.BICOLOUR):
        return SNOW
    if coat.pattern is Pattern.SMOKE:
        return mixed(coat.ground, coat.mark, 0.7)
    share = {Pattern.SOLID: 0.08, Pattern.TORTIE: 0.0, Pattern.TICKED: 0.5}.get(coat.pattern, 0.28)
    return mixed(coat.ground, SNOW, share)


def _band(tube: Tube, start: float, end: float, v0: float, v1: float) -> Points:
    """The piece of a tube between two places along it and two places across it."""
    t = np.linspace(start, end, 8)
    return np.concatenate([tube.at(t, v0), tube.at(t[::-1], v1)])


def _stripe(
    tube: Tube, rng: np.random.Generator, t: float, width: float, v0: float, v1: float
) -> Points:
    """A stripe across the tube, widest in the middle and wavy, thin at its ends."""
    v = np.linspace(v0, v1, 7)
    sway = t + np.cumsum(rng.normal(0.0, width * 0.22, 7))
    half = width * 0.5 * np.sin(np.linspace(0.5, np.pi - 0.25, 7)) * rng.uniform(0.7, 1.2, 7)
    return np.concatenate([tube.at(sway - half, v), tube.at((sway + half)[::-1], v[::-1])])


def _gradient(tube: Tube, light: Colour, dark: Colour, start: float, end: float) -> list[Mark]:
    """`light` turns into `dark` between two places along the tube and stays dark."""
    edges = np.linspace(start, end, 9)
    steps = [
        Mark(_band(tube, a, b + 0.02, -1.3, 1.3), mixed(light, dark, (i + 0.5) / 8))
        for i, (a, b) in enumerate(pairwise(edges))
    ]
    return [*steps, Mark(_band(tube, end, 1.6, -1.3, 1.3), dark)]


def _rings(part: Part, rng: np.random.Generator, colour: Colour, count: int) -> list[Mark]:
    places = np.linspace(0.1, 0.9 if part.zone is Zone.TAIL else 0.72, count)
    width = 0.5 * (places[1] - places[0])
    return [Mark(_stripe(part.tube, rng, t, width * 1.5, -1.2, 1.2), colour) for t in places]


def _body_stripes(part: Part, rng: np.random.Generator, colour: Colour, count: int) -> list[Mark]:
    tube, marks = part.tube, []
    spacing = 0.84 / count
    for t in np.linspace(0.14, 0.98, count):
        width = spacing * 0.62
        if part.belly is Belly.MIDDLE:
            reach = rng.uniform(0.25, 0.45)
            marks.append(Mark(_stripe(tube, rng, t, width, -1.2, -reach), colour))
            marks.append(Mark(_stripe(tube, rng, t, width, 1.2, reach), colour))
        else:
            marks.append(Mark(_stripe(tube, rng, t, width, -1.2, rng.uniform(0.4, 0.75)), colour))
    if part.belly is Belly.RIGHT and part.zone is Zone.BODY:
        marks.append(Mark(_band(tube, 0.05, 1.0, -1.25, -0.82), colour))
    return marks


def _swirl(tube: Tube, t: float, v: float, size: float, colour: Colour, fill: Colour) -> list[Mark]:
    """The bull's eye of a classic tabby: a ring with a filled middle."""
    angle = np.linspace(0.0, 2.0 * np.pi, 22, endpoint=False)
    across = float(np.interp(t, np.linspace(0, 1, len(tube.radius)), tube.radius))
    along = size * across / tube.length
    rings = ((1.0, colour), (0.68, fill), (0.38, colour))
    return [
        Mark(tube.at(t + along * k * np.cos(angle), v + size * k * np.sin(angle)), c)
        for k, c in rings
    ]


def _classic(part: Part, rng: np.random.Generator, coat: Coat) -> list[Mark]:
    tube, dark = part.tube, coat.mark
    jitter = rng.uniform(-0.05, 0.05, 3)
    if part.zone is not Zone.BODY:
        return _swirl(tube, 0.55, 0.0 + jitter[0], 0.7, dark, coat.ground)
    if part.belly is Belly.MIDDLE:
        sides = [
            mark
            for v in (-0.82, 0.82)
            for t in (0.35, 0.72)
            for mark in _swirl(tube, t + jitter[1], v, 0.42, dark, coat.ground)
        ]
        return [*sides, *(Mark(_stripe(tube, rng, t, 0.07, -0.4, 0.4), dark) for t in (0.2, 0.34))]
    flank = _swirl(tube, 0.66 + jitter[0], 0.05, 0.62, dark, coat.ground)
    shoulder = _swirl(tube, 0.26 + jitter[1], 0.0, 0.5, dark, coat.ground)
    backs = [Mark(_band(tube, 0.02, 1.05, v, v + 0.2), dark) for v in (-1.2, -0.82)]
    return [*backs, *flank, *shoulder, Mark(_stripe(tube, rng, 0.46, 0.08, -0.6, 0.7), dark)]


def _spots(part: Part, rng: np.random.Generator, coat: Coat) -> list[Mark]:
    tube, marks = part.tube, []
    rosette = coat.pattern is Pattern.ROSETTED
    size = 3.1 if rosette else 2.1
    radius = float(tube.radius.mean())
    rows = max(2, int(tube.length / (size * 2.5)))
    columns = max(2, int(2 * radius / (size * 2.3)))
    inner = mixed(coat.ground, coat.mark, 0.35)
    for i in range(rows):
        for j in range(columns):
            t = (i + 0.5 + (0.5 if j % 2 else 0.0) + rng.uniform(-0.2, 0.2)) / rows
            v = -0.95 + 1.9 * (j + 0.5 + rng.uniform(-0.2, 0.2)) / columns
            centre = tube.at([t], [v])[0]
            k = size * rng.uniform(0.75, 1.1)
            marks.append(Mark(blob(rng, centre, (k, k * 0.85), 0.28), coat.mark))
            if rosette:
                marks.append(Mark(blob(rng, centre + 0.2, (k * 0.55, k * 0.48), 0.2), inner))
    return marks


def _patches(
    part: Part, rng: np.random.Generator, colours: tuple[Colour, ...], count: int, size: float
) -> list[Mark]:
    """Irregular patches over a part, `size` as a share of its width."""
    radius = float(part.tube.radius.mean())
    marks = []
    for i in range(count):
        t = (i + rng.uniform(0.1, 0.9)) / count
        centre = part.tube.at([t], [rng.uniform(-0.9, 0.9)])[0]
        k = radius * size * rng.uniform(0.7, 1.25)
        shape = blob(rng, centre, (k, k * rng.uniform(0.6, 1.0)), 0.38)
        marks.append(Mark(shape, colours[i % len(colours)]))
    return marks


def _folds(part: Part, rng: np.random.Generator, crease: Colour) -> list[Mark]:
    """The wrinkles of a bare skin, most of them at the neck and on the shoulder."""
    if part.zone in (Zone.TAIL, Zone.LEG):
        return []
    places = (0.08, 0.15, 0.23, 0.34, 0.5) if part.zone is Zone.BODY else (0.2, 0.35)
    return [
        Mark(
            _stripe(part.tube, rng, t, 0.035, -rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.8)), crease
        )
        for t in places
    ]


def _pattern(part: Part, rng: np.random.Generator, breed: Breed) -> list[Mark]:
    coat, zone, tube = breed.coat, part.zone, part.tube
    pattern = coat.pattern
    trunk = zone in (Zone.BODY, Zone.HAUNCH)
    marks: list[Mark] = []
    if breed.hair is Hair.HAIRLESS:
        marks += _folds(part, rng, mixed(coat.ground, (110, 60, 58), 0.35))
    if pattern in POINTS:
        if zone is Zone.LEG:
            marks += _gradient(tube, coat.ground, coat.mark, 0.25, 0.75)
        elif zone is Zone.TAIL:
            marks += _gradient(tube, mixed(coat.ground, coat.mark, 0.6), coat.mark, 0.0, 0.3)
        elif zone is Zone.BODY and part.belly is Belly.RIGHT:
            marks.append(
                Mark(_band(tube, -0.2, 1.2, -1.4, -0.55), mixed(coat.ground, coat.mark, 0.16))
            )
    if pattern is Pattern.LYNX_POINT and not trunk:
        pale = mixed(coat.ground, coat.mark, 0.35)
        return [Mark(_band(tube, -0.5, 1.5, -1.5, 1.5), pale), *_rings(part, rng, coat.mark, 6)]
    if pattern in STRIPED and pattern is not Pattern.LYNX_POINT:
        if not trunk:
            marks += _rings(part, rng, coat.mark, 7 if zone is Zone.TAIL else 4)
        elif pattern is Pattern.CLASSIC:
            marks += _classic(part, rng, coat)
        else:
            marks += _body_stripes(part, rng, coat.mark, 8 if zone is Zone.BODY else 4)
    elif pattern in SPOTTY:
        if trunk:
            marks += _spots(part, rng, coat)
        else:
            marks += _rings(part, rng, coat.mark, 7 if zone is Zone.TAIL else 5)
    elif pattern is Pattern.TICKED:
        if zone is Zone.TAIL:
            marks += _gradient(tube, coat.ground, coat.mark, 0.55, 0.95)
        elif zone is Zone.BODY and part.belly is Belly.RIGHT:
            marks.append(
                Mark(_band(tube, -0.2, 1.2, -1.4, -0.7), mixed(coat.ground, coat.mark, 0.35))
            )
    elif pattern is Pattern.TIPPED:
        tip = mixed(coat.ground, coat.mark, 0.55)
        if zone is Zone.TAIL:
            marks += _gradient(tube, mixed(coat.ground, coat.mark, 0.2), coat.mark, 0.2, 1.0)
        elif zone is Zone.BODY and part.belly is Belly.RIGHT:
            marks += [
                Mark(_band(tube, -0.2, 1.2, -1.4, v), mixed(coat.ground, tip, share))
                for v, share in ((0.3, 0.25), (0.0, 0.5), (-0.35, 0.75), (-0.65, 1.0))
            ]
        elif zone is Zone.BODY:
            for v in (-1.3, 1.3):
                marks.append(
                    Mark(_band(tube, -0.2, 1.2, v, v * 0.45), mixed(coat.ground, tip, 0.6))
                )
    elif pattern is Pattern.SMOKE and zone is Zone.BODY:
        shine = mixed(coat.ground, coat.mark, 0.75)
        where = (-0.55, 0.55) if part.belly is Belly.MIDDLE else (0.25, 1.3)
        marks.append(Mark(_band(tube, -0.2, 0.5, *where), shine))
    if pattern in (Pattern.TORTIE, Pattern.TORBIE):
        count = {Zone.BODY: 9, Zone.HAUNCH: 3, Zone.LEG: 2, Zone.TAIL: 3}[zone]
        marks += _patches(part, rng, (coat.second,), count, 0.42 if trunk else 0.9)
        if pattern is Pattern.TORTIE and trunk:
            marks += _patches(part, rng, (coat.ground, coat.second), 10, 0.16)
    elif pattern is Pattern.CALICO:
        count = {Zone.BODY: 5, Zone.HAUNCH: 1, Zone.LEG: 0, Zone.TAIL: 3}[zone]
        first = (coat.mark, coat.second) if rng.random() < 0.5 else (coat.second, coat.mark)
        marks += _patches(part, rng, first, count, 0.62 if trunk else 1.6)
    elif pattern is Pattern.PATCHED:
        count = {Zone.BODY: 4, Zone.HAUNCH: 1, Zone.LEG: 0, Zone.TAIL: 2}[zone]
        marks += _patches(part, rng, (coat.mark,), count, 0.66 if trunk else 1.6)
    elif pattern is Pattern.VAN and zone is Zone.BODY and coat.mark != coat.second:
        marks += _patches(part, rng, (coat.second, coat.mark), 1, 0.4)
    return marks


def _white(part: Part, coat: Coat) -> list[Mark]:
    """White gloves, shirt and belly, over all else."""
    tube, zone = part.tube, part.zone
    start = {White.MITTED: 0.72, White.BIB: 0.7, White.BICOLOUR: 0.3}.get(coat.white)
    if start is None:
        return []
    if zone is Zone.LEG:
        return [Mark(_band(tube, start, 1.6, -1.5, 1.5), SNOW)]
    if zone is not Zone.BODY or coat.white is White.MITTED:
        return []
    if part.belly is Belly.MIDDLE:
        half = 0.62 if coat.white is White.BICOLOUR else 0.42
        t = np.linspace(-0.2, 1.1 if coat.white is White.BICOLOUR else 0.85, 8)
        width = half * np.array([1, 1.1, 1.1, 1.0, 0.9, 0.8, 0.6, 0.3])
        return [Mark(np.concatenate([tube.at(t, -width), tube.at(t[::-1], width[::-1])]), SNOW)]
    if coat.white is White.BIB:
        edge = spline([(-0.3, -0.2), (0.1, 0.0), (0.35, 0.6), (0.45, 1.4)], 10)
    else:
        edge = spline([(-0.3, -1.0), (0.1, -0.5), (0.4, 0.3), (0.8, 0.45), (1.1, 0.7)], 12)
    far = tube.at([1.2, 0.4, -0.3], [1.4, 1.4, 1.4])
    return [Mark(np.concatenate([tube.at(edge[:, 0], edge[:, 1]), far]), SNOW)]


def marks_of(part: Part, breed: Breed, rng: np.random.Generator) -> list[Mark]:
    """All marks of a part, first to last. A ruff has none: it is of one colour."""
    if part.zone is Zone.RUFF:
        return []
    return _pattern(part, rng, breed) + _white(part, breed.coat)
