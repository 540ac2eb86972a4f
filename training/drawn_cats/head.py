"""The head of a drawn cat, seen from the front: ears, coat, eyes, nose, mouth and whiskers."""

from __future__ import annotations

from training.drawn_cats.coat import SNOW, WHITE_BASED, Mark
from training.drawn_cats.ears import draw_ears
from training.drawn_cats.features import Look, draw_eyes, draw_muzzle, draw_wrinkles
from training.drawn_cats.geometry import Frame, Points, spline
from training.drawn_cats.painter import Fur, Painter, fringe
from training.drawn_cats.traits import Breed, EarShape, Hair, Pattern

__all__ = ["Look", "draw_head"]


def _outline(breed: Breed) -> Points:
    f = breed.face
    half = [
        (0.0, -0.8),
        (f.temple * 0.55, -0.74),
        (f.temple, -0.28),
        (f.cheek, 0.26),
        (f.jaw, f.chin * 0.76),
        (f.jaw * 0.42, f.chin * 0.98),
    ]
    knots = [*half, (0.0, f.chin * 1.02), *[(-x, y) for x, y in half[:0:-1]]]
    return spline(knots, 48, closed=True)


def draw_head(
    painter: Painter, breed: Breed, frame: Frame, fur: Fur, look: Look, marks: list[Mark]
) -> None:
    """Ears, coat and features of the head; `marks` are the face's, in head coordinates."""
    coat = breed.coat
    folded = breed.ears.shape is EarShape.FOLDED
    if not folded:
        draw_ears(painter, breed, frame, fur, marks)
    spotted_white = coat.pattern in WHITE_BASED and coat.pattern is not Pattern.PATCHED
    painter.shape(
        fringe(frame.place(_outline(breed)), fur, painter.rng, 0.8),
        SNOW if spotted_white else coat.ground,
        [Mark(frame.place(mark.polygon, 0.35), mark.colour) for mark in marks],
        fur,
        soft=0.025 * frame.radius,
        round_share=0.8,
    )
    if folded:
        draw_ears(painter, breed, frame, fur, marks)
    if breed.hair is Hair.HAIRLESS:
        draw_wrinkles(painter, frame, coat.ground)
    draw_muzzle(painter, breed, frame)
    draw_eyes(painter, breed, frame, look)
