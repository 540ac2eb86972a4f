"""Curves and tubes in the plane: what every part of a drawn cat is made of.

A point array has the shape (n, 2), float64, x to the right and y downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
Values = NDArray[np.float64]


def spline(points: ArrayLike, samples: int, closed: bool = False) -> Points:
    """A uniform Catmull-Rom curve through `points` (n, k), sampled at `samples` even parameters.

    An open curve includes both ends; a closed one does not repeat its first point.
    """
    knots = np.asarray(points, dtype=np.float64)
    count = len(knots)
    if closed:
        position = np.linspace(0.0, count, samples, endpoint=False)
        start = position.astype(np.int64)
        index = [(start + offset) % count for offset in (-1, 0, 1, 2)]
    else:
        position = np.linspace(0.0, count - 1, samples)
        start = np.minimum(position.astype(np.int64), count - 2)
        index = [np.clip(start + offset, 0, count - 1) for offset in (-1, 0, 1, 2)]
    u = (position - start)[:, None]
    before, first, second, after = (knots[i] for i in index)
    return np.asarray(
        0.5
        * (
            2.0 * first
            + (second - before) * u
            + (2.0 * before - 5.0 * first + 4.0 * second - after) * u**2
            + (3.0 * first - before - 3.0 * second + after) * u**3
        )
    )


def ellipse(centre: ArrayLike, radii: tuple[float, float], tilt: float = 0.0) -> Points:
    """An ellipse as a polygon of 24 points; `tilt` in radians, clockwise on the screen."""
    angle = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    x, y = radii[0] * np.cos(angle), radii[1] * np.sin(angle)
    cos, sin = np.cos(tilt), np.sin(tilt)
    turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
    return np.asarray(turned + np.asarray(centre, dtype=np.float64))


def blob(
    rng: np.random.Generator, centre: ArrayLike, radii: tuple[float, float], ragged: float = 0.3
) -> Points:
    """An irregular closed patch of about `radii` around `centre`; `ragged` 0 is an ellipse."""
    angle = np.linspace(0.0, 2.0 * np.pi, 9, endpoint=False) + rng.uniform(0.0, 0.6)
    reach = 1.0 + ragged * rng.uniform(-1.0, 1.0, 9)
    knots = np.stack([radii[0] * reach * np.cos(angle), radii[1] * reach * np.sin(angle)], axis=1)
    return spline(knots + np.asarray(centre, dtype=np.float64), 27, closed=True)


def _normals(curve: Points, closed: bool) -> Points:
    if closed:
        along = np.roll(curve, -1, axis=0) - np.roll(curve, 1, axis=0)
    else:
        along = np.gradient(curve, axis=0)
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    return np.stack([-along[:, 1] / length, along[:, 0] / length], axis=1)


def resample(outline: Points, step: float) -> Points:
    """The closed `outline` at even distances of about `step`."""
    ring = np.concatenate([outline, outline[:1]])
    edge = np.diff(ring, axis=0)
    distance = np.concatenate([[0.0], np.cumsum(np.hypot(edge[:, 0], edge[:, 1]))])
    count = max(12, int(distance[-1] / step))
    at = np.linspace(0.0, distance[-1], count, endpoint=False)
    return np.stack([np.interp(at, distance, ring[:, axis]) for axis in (0, 1)], axis=1)


def displaced(outline: Points, by: Values) -> Points:
    """The closed clockwise-on-screen `outline` moved outwards by `by` (n,) along its normals."""
    return np.asarray(outline - _normals(outline, closed=True) * by[:, None])


@dataclass(frozen=True)
class Tube:
    """A bent tube: a spine and a radius along it. Marks are placed on it as (t, v).

    t runs from 0 to 1 along the spine; v from -1 to 1 across it, +1 on the right-hand side of
    somebody who walks along the spine on the screen (the belly, for a spine from left to right).
    """

    spine: Points
    radius: Values
    normal: Points

    @classmethod
    def through(cls, knots: Sequence[tuple[float, float, float]], samples: int = 24) -> Tube:
        """A tube through (x, y, radius) knots."""
        curve = spline(knots, samples)
        spine = curve[:, :2]
        return cls(spine, np.maximum(curve[:, 2], 0.05), _normals(spine, closed=False))

    @property
    def length(self) -> float:
        edge = np.diff(self.spine, axis=0)
        return float(np.hypot(edge[:, 0], edge[:, 1]).sum())

    def at(self, t: ArrayLike, v: ArrayLike) -> Points:
        """The points (n, 2) at positions t (n,) and v (n,)."""
        t, v = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(v, np.float64))
        place = np.clip(t, 0.0, 1.0) * (len(self.spine) - 1)
        low = np.minimum(place.astype(np.int64), len(self.spine) - 2)
        part = (place - low)[:, None]
        centre = self.spine[low] * (1 - part) + self.spine[low + 1] * part
        across = self.normal[low] * (1 - part) + self.normal[low + 1] * part
        radius = self.radius[low] * (1 - part[:, 0]) + self.radius[low + 1] * part[:, 0]
        # Beyond its ends the tube goes straight on, so that marks reach over the round caps.
        beyond = (t - np.clip(t, 0.0, 1.0)) * self.length
        along = np.stack([across[:, 1], -across[:, 0]], axis=1)
        return np.asarray(centre + across * (v * radius)[:, None] + along * beyond[:, None])

    def outline(self) -> Points:
        """The closed outline with round ends, clockwise on the screen."""
        left = self.spine - self.normal * self.radius[:, None]
        right = self.spine + self.normal * self.radius[:, None]
        arc = np.linspace(0.0, np.pi, 9)[1:-1, None]

        def cap(end: int, sign: float) -> Points:
            across = self.normal[end] * self.radius[end]
            along = np.array([self.normal[end][1], -self.normal[end][0]]) * self.radius[end]
            return np.asarray(
                self.spine[end] - sign * np.cos(arc) * across + sign * np.sin(arc) * along
            )

        return np.concatenate([left, cap(-1, 1.0), right[::-1], cap(0, -1.0)])


def mirrored(points: Points, sign: float) -> Points:
    """The points with x times `sign`: a right-hand shape on the left with -1."""
    return np.asarray(points * np.array([sign, 1.0]))


@dataclass(frozen=True)
class Frame:
    """Where a head is in a cat's units: centre, radius, tilt (radians) and yaw (-1..1)."""

    centre: tuple[float, float]
    radius: float
    tilt: float
    yaw: float

    def place(self, points: Points, depth: float = 0.0) -> Points:
        """Head coordinates to units; `depth` 1 is the tip of the nose, which a turn moves most."""
        x = points[:, 0] + self.yaw * depth
        y = points[:, 1]
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
        return np.asarray(turned * self.radius + np.asarray(self.centre))
