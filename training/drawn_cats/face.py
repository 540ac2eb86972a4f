"""Marks of the coat on a cat's face, in head coordinates (see `geometry.Frame`)."""

from __future__ import annotations

import numpy as np

from training.drawn_cats.coat import POINTS, SNOW, SPOTTY, STRIPED, WHITE_BASED, Mark, mixed
from training.drawn_cats.geometry import blob, ellipse, mirrored
from training.drawn_cats.traits import Breed, Colour, Pattern, White


def face_marks(breed: Breed, rng: np.random.Generator) -> list[Mark]:
    """All marks of the head in head coordinates, first to last."""
    coat, f = breed.coat, breed.face
    marks: list[Mark] = []
    pattern, dark = coat.pattern, coat.mark
    if pattern in POINTS:
        strength = 1.0 if pattern is Pattern.POINTED else 0.45
        for size, share in ((1.0, 0.3), (0.86, 0.6), (0.72, 1.0)):
            shape = ellipse((0.0, f.nose * 0.75), (0.86 * size, 0.92 * size))
            marks.append(Mark(shape, mixed(coat.ground, dark, share * strength)))
    if pattern in STRIPED or pattern in SPOTTY or (pattern is Pattern.TICKED):
        marks += _tabby_face(
            breed, dark if pattern is not Pattern.TICKED else mixed(coat.ground, dark, 0.7)
        )
    if pattern in (Pattern.TORTIE, Pattern.TORBIE):
        side = 1.0 if rng.random() < 0.5 else -1.0
        half = np.array([(0.04, -1.0), (1.3, -1.0), (1.3, 0.1), (0.5, 0.3), (0.08, 0.1)])
        marks.append(Mark(mirrored(half, side), coat.second))
        marks += [
            Mark(blob(rng, rng.uniform(-0.8, 0.8, 2), (0.2, 0.15), 0.4), coat.second)
            for _ in range(5)
        ]
        if pattern is Pattern.TORTIE:
            marks += [
                Mark(blob(rng, rng.uniform(-0.8, 0.8, 2), (0.16, 0.12), 0.4), coat.ground)
                for _ in range(5)
            ]
    if pattern in WHITE_BASED:
        left, right = dark, dark if pattern is Pattern.PATCHED else coat.second
        if rng.random() < 0.5:
            left, right = right, left
        reach = -0.15 if pattern is Pattern.VAN else 0.28
        for sign, colour in ((-1.0, left), (1.0, right)):
            cap = np.array(
                [
                    (0.1, -1.1),
                    (1.4, -1.1),
                    (1.4, reach),
                    (0.72, reach + 0.1),
                    (0.3, reach - 0.1),
                    (0.16, -0.5),
                ]
            )
            cap[:, 1] += rng.uniform(-0.06, 0.06, len(cap))
            marks.append(Mark(mirrored(cap, sign), colour))
    if pattern is Pattern.TIPPED:
        marks.append(Mark(ellipse((0.0, -0.9), (0.7, 0.5)), mixed(coat.ground, dark, 0.4)))
    if pattern in (Pattern.TICKED, *STRIPED, *SPOTTY) and pattern is not Pattern.LYNX_POINT:
        pale = mixed(coat.ground, (252, 246, 236), 0.55)
        marks += [
            Mark(ellipse((s * 0.2, f.nose + 0.24), (0.3 * f.muzzle, 0.24)), pale) for s in (-1, 1)
        ]
        marks.append(Mark(ellipse((0.0, f.chin * 0.9), (0.3, 0.2)), pale))
    return marks + _white_face(breed)


def _tabby_face(breed: Breed, dark: Colour) -> list[Mark]:
    """The M on the forehead and the lines on the cheeks."""
    c = breed.face.cheek
    bars = [
        [(-0.06, -0.95), (0.06, -0.95), (0.05, -0.42), (-0.05, -0.42)],
        [(0.18, -0.95), (0.3, -0.95), (0.28, -0.52), (0.12, -0.36), (0.16, -0.6)],
        [(0.44, -0.9), (0.56, -0.85), (0.56, -0.45), (0.36, -0.34), (0.46, -0.52)],
    ]
    lines = [
        [(0.62, 0.02), (c * 1.2, -0.12), (c * 1.2, 0.0), (0.66, 0.12)],
        [(0.6, 0.28), (c * 1.2, 0.24), (c * 1.2, 0.36), (0.62, 0.38)],
    ]
    marks = [Mark(np.array(bars[0]), dark)]
    for side in (-1.0, 1.0):
        marks += [Mark(mirrored(np.array(shape), side), dark) for shape in (*bars[1:], *lines)]
    return marks


def _white_face(breed: Breed) -> list[Mark]:
    f, white = breed.face, breed.coat.white
    if white is White.BIB:
        muzzle = [(0.0, f.nose - 0.12), (0.34, f.nose + 0.14), (0.4, f.chin), (0.0, 1.4)]
    elif white is White.BICOLOUR:
        muzzle = [(0.0, -0.55), (0.14, -0.05), (0.5, f.nose + 0.1), (0.66, f.chin), (0.0, 1.5)]
    else:
        return []
    shape = [*muzzle, *[(-x, y) for x, y in muzzle[-2:0:-1]]]
    return [Mark(np.array(shape), SNOW)]
