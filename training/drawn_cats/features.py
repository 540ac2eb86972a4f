"""Eyes, nose, mouth and whiskers, and a hairless cat's wrinkles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.drawn_cats.coat import mixed
from training.drawn_cats.geometry import Frame, Points, ellipse, mirrored, spline
from training.drawn_cats.painter import Painter
from training.drawn_cats.traits import Breed, Colour, Hair, Pattern, White


@dataclass(frozen=True)
class Look:
    """How the eyes look: their colours from left to right; `blink` 0 is wide open, 1 half shut;
    `gaze` -1..1 sideways; `pupil` the width of the pupil as a share of the iris."""

    eyes: tuple[Colour, Colour]
    blink: float
    gaze: float
    pupil: float


def draw_wrinkles(painter: Painter, frame: Frame, skin: Colour) -> None:
    """Folds on the forehead and the cheeks."""
    crease = mixed(skin, (96, 48, 44), 0.4)
    folds = [[(0.04, y + 0.06), (0.22, y - 0.04), (0.46, y + 0.03)] for y in (-0.7, -0.56, -0.43)]
    folds += [[(x, 0.3), (x - 0.03, 0.45), (x - 0.12, 0.58)] for x in (0.62, 0.72)]
    for side in (-1.0, 1.0):
        for fold in folds:
            arc = frame.place(mirrored(spline(fold, 8), side), 0.2)
            painter.line(arc, crease, 0.04 * frame.radius)


def _ink(breed: Breed) -> Colour:
    """The colour of the mouth: dark, but light enough on a black muzzle."""
    if breed.coat.white in (White.BIB, White.BICOLOUR):
        return (66, 44, 42)
    coat = breed.coat
    luma = sum(coat.mark if coat.pattern is Pattern.POINTED else coat.ground) / 3
    if luma > 95:
        return (66, 44, 42)
    return (18, 14, 16) if luma > 60 else (92, 84, 84)


def draw_muzzle(painter: Painter, breed: Breed, frame: Frame) -> None:
    """Nose, mouth and whiskers."""
    f, r, y = breed.face, frame.radius, breed.face.nose
    w = 0.13 if y > 0.2 else 0.16
    knots = [(-w, y), (0.0, y - 0.03), (w, y), (0.05, y + 0.13), (-0.05, y + 0.13)]
    nose = spline(knots, 20, closed=True)
    painter.polygon(frame.place(nose, 0.5), breed.nose)
    rim = frame.place(nose[[*range(20), 0]], 0.5)
    painter.line(rim, mixed(breed.nose, (66, 44, 42), 0.55), 0.025 * r)
    ink = _ink(breed)
    low = y + 0.23
    painter.line(frame.place(np.array([(0.0, y + 0.12), (0.0, low)]), 0.45), ink, 0.035 * r)
    smile = 0.26 * f.muzzle
    corner = low if f.muzzle > 1.2 else low + 0.05
    for side in (-1.0, 1.0):
        arc = spline([(0.0, low), (smile * 0.5, low + 0.1), (smile, corner)], 8)
        painter.line(frame.place(mirrored(arc, side), 0.42), ink, 0.035 * r)
        for dx, dy in ((0.2, 0.1), (0.3, 0.18), (0.22, 0.2)):
            dot = ellipse((side * dx * f.muzzle, y + dy), (0.018, 0.018))
            painter.polygon(frame.place(dot, 0.4), mixed(ink, breed.coat.ground, 0.3))
    if breed.hair is not Hair.HAIRLESS:
        _whiskers(painter, breed, frame)


def _whiskers(painter: Painter, breed: Breed, frame: Frame) -> None:
    y, start = breed.face.nose + 0.12, 0.3 * breed.face.muzzle
    pale = sum(breed.coat.ground) / 3 < 170
    colour = (250, 248, 244) if pale else (150, 142, 138)
    for i, (rise, reach) in enumerate(((-0.22, 1.25), (0.02, 1.35), (0.26, 1.2))):
        begin = (start, y + 0.05 * i)
        if breed.hair.curly or breed.hair is Hair.WIRY:
            knots = [begin, (0.6, y - 0.1 + 0.2 * i), (0.72, y + 0.1 * i), (0.9, y + 0.2 * i)]
        else:
            knots = [begin, (0.8, y + rise * 0.5 + 0.04), (reach, y + rise + 0.1)]
        for side in (-1.0, 1.0):
            whisker = frame.place(mirrored(spline(knots, 10), side), 0.3)
            painter.line(whisker, colour, 0.018 * frame.radius)


def draw_eyes(painter: Painter, breed: Breed, frame: Frame, look: Look) -> None:
    """Both eyes, with a dark rim, a lit lower half of the iris, a slit and a glint."""
    f = breed.face
    wide = 0.27 * f.eye
    tall = wide * (0.62 + 0.42 * f.eye_round) * (1.0 - 0.45 * look.blink)
    y = -0.06 if f.nose > 0.2 else 0.02
    rim = (40, 30, 30) if sum(breed.coat.ground) > 180 else (12, 10, 12)
    for side, iris in ((-1.0, look.eyes[0]), (1.0, look.eyes[1])):
        centre = np.array([side * (0.43 + 0.03 * f.eye) * (0.75 + 0.25 * f.cheek), y])

        def oval(
            width: float, height: float, dx: float = 0.0, dy: float = 0.0,
            centre: Points = centre, tilt: float = -side * f.eye_tilt,
        ) -> Points:  # fmt: skip
            shape = ellipse(centre + np.array([dx, dy]), (width, height), tilt)
            return frame.place(shape, 0.3)

        painter.polygon(oval(wide * 1.16, tall * 1.2), rim)
        painter.polygon(oval(wide, tall), mixed(iris, (20, 20, 20), 0.25))
        painter.polygon(oval(wide * 0.9, tall * 0.84, dy=tall * 0.1), iris)
        glow = mixed(iris, (255, 255, 240), 0.3)
        painter.polygon(oval(wide * 0.6, tall * 0.4, dy=tall * 0.45), glow)
        shift = look.gaze * wide * 0.25
        slit = ellipse(centre + np.array([shift, 0.0]), (wide * look.pupil, tall * 0.82))
        painter.polygon(frame.place(slit, 0.3), (14, 12, 14))
        glint = ellipse(centre + np.array([wide * 0.24, -tall * 0.4]), (wide * 0.2, wide * 0.2))
        painter.polygon(frame.place(glint, 0.3), (255, 255, 255))
