"""Where the parts of a cat lie in each pose, in a square of 100 by 100 units.

The ground is at y = 92. A figure faces left; the picture is mirrored later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from training.drawn_cats.geometry import Tube
from training.drawn_cats.traits import Breed, Build, Tail

GROUND = 92.0


class Pose(Enum):
    SIT_FRONT = "sitting, from the front"
    SIT_SIDE = "sitting, from the side"
    STAND = "standing, from the side"
    LOAF = "lying as a loaf"
    PEEK = "peeking over an edge"


class Zone(Enum):
    """Which part of a cat a tube is. Its place in this list seeds its marks, keep the order."""

    BODY = "body"
    HAUNCH = "haunch"
    LEG = "leg"
    TAIL = "tail"
    RUFF = "ruff"


class Belly(Enum):
    """Where on the tube of a body the breast and the belly show."""

    MIDDLE = "middle"
    RIGHT = "v > 0"


@dataclass(frozen=True)
class Part:
    zone: Zone
    tube: Tube
    number: int = 0
    belly: Belly = Belly.RIGHT
    far: bool = False


@dataclass(frozen=True)
class Figure:
    """Parts from back to front, the head last, and what the head stands on."""

    parts: tuple[Part, ...]
    head: tuple[float, float]
    head_radius: float
    tilt: float
    yaw: float
    edge: float | None = None


Knot = tuple[float, float, float]


def _tail(breed: Breed, root: Knot, bends: list[tuple[float, float]]) -> list[Part]:
    """The tail from its root through `bends`; short tails stop early, plumed ones widen."""
    x, y, radius = root
    if breed.tail is Tail.NONE:
        return []
    if breed.tail is Tail.BOB:
        dx, dy = bends[0][0] - x, bends[0][1] - y
        reach = 10.0 / max(float(np.hypot(dx, dy)), 1e-6)
        tip = (x + dx * reach, y + dy * reach)
        knots = [(x, y, radius), ((x + tip[0]) / 2, (y + tip[1]) / 2, 4.6), (*tip, 4.4)]
        return [Part(Zone.TAIL, Tube.through(knots, 10))]
    widths = {
        Tail.LONG: (3.4, 3.2, 3.0, 2.6),
        Tail.WHIP: (2.6, 2.0, 1.6, 0.8),
        Tail.PLUMED: (3.8, 6.2, 7.2, 3.4),
    }[breed.tail]
    knots = [(x, y, widths[0])]
    knots += [(bx, by, w) for (bx, by), w in zip(bends, widths[1:], strict=True)]
    return [Part(Zone.TAIL, Tube.through(knots, 26))]


def _leg(build: Build, paw: float, number: int, far: bool, *knots: Knot) -> Part:
    """A leg through `knots` with a paw at the end of it; radii are a house cat's."""
    thin = 0.55 + 0.45 * build.girth
    path = [(x, y, r * thin) for x, y, r in knots]
    x, y, r = path[-1]
    path[-1] = (x, y - r * paw, r * paw)
    ankle = y - r * paw - 4.5 * paw
    if len(path) > 2:  # a folded hind leg has two knots: it shows its paw only
        path[-2] = (path[-2][0], ankle, r * 0.92)
    return Part(Zone.LEG, Tube.through(path, 20), number, far=far)


def _ruff(breed: Breed, *knots: Knot) -> list[Part]:
    """The long hair on the breast, which short coats do not have."""
    if breed.hair.shaggy < 0.15:
        return []
    return [Part(Zone.RUFF, Tube.through(knots, 14))]


def _sit_front(breed: Breed, rng: np.random.Generator) -> Figure:
    b = breed.build
    g, paw = b.girth, 1.5 if breed.extra_toes else 1.12
    short = 12.0 * (1.0 - min(b.legs, 1.05))
    top = 42.0 - 4.0 * (b.neck - 1.0) * 2 + short
    lean = rng.uniform(-2.5, 2.5)
    body = Tube.through(
        [(50 + lean, top, 10 * g), (50, 62 + short * 0.5, 15.5 * g), (50, 80, 20 * g)], 24
    )
    wave = rng.uniform(-4, 4)
    side = rng.choice((-1.0, 1.0))
    bends = [(76.0, 89.0), (86.0 + wave / 2, 78.0), (81.0 + wave, 62.0)]
    tail = _tail(breed, (62.0, 86.0, 4.0), bends)
    if side < 0:
        tail = [Part(p.zone, Tube(*_flipped(p.tube)), p.number, p.belly, p.far) for p in tail]
    haunches = []
    for number, sign in enumerate((-1.0, 1.0)):
        x = 50 + sign * 15.5 * g
        haunches.append(
            Part(
                Zone.HAUNCH, Tube.through([(x - sign * 2, 72, 8 * g), (x, 83, 8.8 * g)], 12), number
            )
        )
        haunches.append(
            _leg(b, paw, 2 + number, False, (x + sign * 1.5, 84, 4.6), (x + sign * 2.5, 93, 4.2))
        )
    legs = [
        _leg(b, paw, n, False, (50 + s * 6 * g, 60 + short, 5), (50 + s * 6.3 * g, 80, 4.2),
             (50 + s * 6.6 * g, 93.5, 4.4))
        for n, s in ((0, -1.0), (1, 1.0))
    ]  # fmt: skip
    radius = 18.0 * b.head
    head = (50 + lean * 1.4, top - 4 - radius * 0.62)
    ruff = _ruff(
        breed, (50 + lean, top + 3, 11 * g), (50, top + 14, 11.5 * g), (50, top + 24, 5 * g)
    )
    parts = (*tail, Part(Zone.BODY, body, belly=Belly.MIDDLE), *haunches, *legs, *ruff)
    return Figure(parts, head, radius, rng.uniform(-0.14, 0.14), rng.uniform(-0.12, 0.12))


def _flipped(tube: Tube) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tube seen in a mirror at x = 50, with v on the same sides of the cat."""
    spine, normal = tube.spine.copy(), tube.normal.copy()
    spine[:, 0] = 100.0 - spine[:, 0]
    normal[:, 1] = -normal[:, 1]
    return spine, tube.radius, normal


def _sit_side(breed: Breed, rng: np.random.Generator) -> Figure:
    b = breed.build
    g, paw = b.girth, 1.5 if breed.extra_toes else 1.12
    short = 12.0 * (1.0 - min(b.legs, 1.05))
    top = 43.0 - 6.0 * (b.neck - 1.0) + short
    body = Tube.through(
        [(40, top, 9 * g), (46, 60 + short * 0.6, 13.5 * g), (58, 76, 16.5 * g)], 24
    )
    wave = rng.uniform(-5, 5)
    bends = [(85.0, 90.0), (93.0, 77.0 + wave), (86.0 + wave, 60.0)]
    tail = _tail(breed, (70.0, 86.0, 4.0), bends)
    haunch = Part(Zone.HAUNCH, Tube.through([(58, 72, 9 * g), (62, 80, 11.5 * g)], 14))
    hind = _leg(b, paw, 2, False, (62, 87.5, 4.6), (50, 93, 4.4))
    far = _leg(b, paw, 1, True, (44, 62 + short, 5), (45, 80, 4), (44, 92.5, 4.2))
    near = _leg(b, paw, 0, False, (39, 60 + short, 5.4), (37.5, 80, 4.3), (36, 93.5, 4.5))
    radius = 17.5 * b.head
    head = (35 + rng.uniform(-1, 1), top - 3 - radius * 0.6)
    ruff = _ruff(breed, (39, top + 3, 10 * g), (39, top + 13, 10.5 * g), (39, top + 22, 5 * g))
    parts = (*tail, far, Part(Zone.BODY, body), haunch, hind, near, *ruff)
    return Figure(parts, head, radius, rng.uniform(-0.12, 0.16), rng.uniform(-0.3, -0.05))


def _stand(breed: Breed, rng: np.random.Generator) -> Figure:
    b = breed.build
    g, paw = b.girth, 1.45 if breed.extra_toes else 1.1
    drop = 22.0 * (1.0 - min(b.legs, 1.12))
    y = 57.0 + drop
    step = rng.uniform(-3, 3)
    body = Tube.through(
        [(28, y - 8, 8.5 * g), (38, y - 1, 12.5 * g), (56, y, 12 * g), (75, y, 12 * g)], 28
    )
    wave = rng.uniform(-5, 5)
    bends = [(92.0, y - 16), (94.0 + wave / 2, y - 30), (88.0 + wave, y - 41)]
    tail = _tail(breed, (83.0, y - 5, 4.0), bends)
    hip = y + 6
    far_legs = [
        _leg(b, paw, 1, True, (41 + step, y + 4, 5), (41.5 + step, 82, 3.8), (41 + step, 91.5, 4)),
        _leg(b, paw, 3, True, (70, hip, 7), (70 - step, 78, 4.6), (68 - step, 91.5, 4)),
    ]
    near_legs = [
        _leg(b, paw, 0, False, (34 - step, y + 4, 5.5), (33 - step, 82, 4), (32 - step, 93, 4.3)),
        _leg(b, paw, 2, False, (78, hip, 6), (80 + step, 80, 4.4), (78 + step, 93, 4.2)),
    ]
    thigh = Part(Zone.HAUNCH, Tube.through([(77, y + 1, 10.5 * g), (78, y + 9, 7 * g)], 12))
    radius = 16.0 * b.head
    head = (24.0 - 3.0 * (b.neck - 1.0), y - 12 - radius * 0.5 - 5 * (b.neck - 1.0))
    ruff = _ruff(breed, (27, y - 9, 9.5 * g), (29, y, 9.5 * g), (31, y + 8, 5 * g))
    parts = (*tail, *far_legs, Part(Zone.BODY, body), near_legs[1], thigh, near_legs[0], *ruff)
    return Figure(parts, head, radius, rng.uniform(-0.12, 0.14), rng.uniform(-0.3, 0.0))


def _loaf(breed: Breed, rng: np.random.Generator) -> Figure:
    b = breed.build
    g, paw = 0.6 + 0.4 * b.girth, 1.5 if breed.extra_toes else 1.12
    rise = rng.uniform(-1.5, 1.5)
    body = Tube.through(
        [(33, 74 - 3 * g, 14 * g), (52, 76 - 2 * g, 17 * g + rise), (74, 78, 14 * g)], 24
    )
    haunch = Part(Zone.HAUNCH, Tube.through([(72, 79, 9 * g), (68, 84, 8 * g)], 12))
    wave = rng.uniform(-3, 3)
    bends = [(90.0, 92.0), (76.0 + wave, 95.0), (58.0 + wave, 95.0)]
    tail = _tail(breed, (86.0, 84.0, 4.0), bends)
    paws = [
        _leg(b, paw, n, False, (x + 9, 88, 4.6), (x, 94.5, 4.6)) for n, x in ((1, 38.0), (0, 26.0))
    ]
    radius = 18.0 * b.head
    head = (33 + rng.uniform(-1.5, 1.5), 62 - radius * 0.62 - 4 * (b.neck - 1.0))
    behind = tail if breed.tail is Tail.BOB else []
    before = [] if behind else tail
    ruff = _ruff(breed, (32, 68, 12 * g), (31, 76, 12 * g), (31, 84, 7 * g))
    parts = (*behind, Part(Zone.BODY, body), haunch, *before, *paws, *ruff)
    return Figure(parts, head, radius, rng.uniform(-0.16, 0.16), rng.uniform(-0.2, 0.1))


def _peek(breed: Breed, rng: np.random.Generator) -> Figure:
    b = breed.build
    g, paw = 0.5 + 0.5 * b.girth, 1.4 if breed.extra_toes else 1.05
    lean = rng.uniform(-3, 3)
    body = Tube.through([(50, 58, 18 * g), (50, 74, 25 * g), (50, 100, 29 * g)], 20)
    wave = rng.uniform(-4, 4)
    bends = [(86.0, 78.0), (93.0, 58.0 + wave), (88.0 + wave / 2, 38.0)]
    tail = _tail(breed, (72.0, 88.0, 4.0), bends)
    legs = [
        _leg(Build(), paw, n, False, (50 + s * 21 * g, 76, 8), (50 + s * 22 * g, 84, 7.4),
             (50 + s * 22 * g, 98, 7.2))
        for n, s in ((0, -1.0), (1, 1.0))
    ]  # fmt: skip
    radius = 26.0 * (0.5 + 0.5 * b.head)
    head = (50 + lean, 46.0 + rng.uniform(-2, 2))
    ruff = _ruff(breed, (50 + lean, 66, 18 * g), (50, 78, 16 * g), (50, 88, 7 * g))
    parts = (*tail, Part(Zone.BODY, body, belly=Belly.MIDDLE), *ruff, *legs)
    return Figure(parts, head, radius, rng.uniform(-0.18, 0.18), rng.uniform(-0.15, 0.15), 90.0)


_FIGURES: dict[Pose, Callable[[Breed, np.random.Generator], Figure]] = {
    Pose.SIT_FRONT: _sit_front,
    Pose.SIT_SIDE: _sit_side,
    Pose.STAND: _stand,
    Pose.LOAF: _loaf,
    Pose.PEEK: _peek,
}


def figure(breed: Breed, pose: Pose, rng: np.random.Generator) -> Figure:
    """The parts of a cat of `breed` in `pose`; `rng` moves tail, legs and head a little."""
    return _FIGURES[pose](breed, rng)
