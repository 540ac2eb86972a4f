"""Simple places for a cat to be in: rooms and gardens, in many colours.

The background is painted without supersampling detail: gradients and flat shapes only.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.drawn_cats.traits import Colour

_WALLS: tuple[Colour, ...] = (
    (214, 206, 190), (176, 196, 206), (198, 178, 168), (168, 186, 160), (222, 214, 208),
    (150, 140, 160), (120, 148, 160), (206, 186, 130), (190, 150, 150), (96, 110, 120),
)  # fmt: skip
_FLOORS: tuple[Colour, ...] = (
    (140, 100, 66), (170, 132, 92), (110, 84, 70), (150, 150, 156), (178, 160, 140), (92, 90, 104),
)  # fmt: skip
_SOFT: tuple[Colour, ...] = (
    (170, 70, 70), (70, 100, 140), (90, 120, 90), (200, 160, 80), (130, 90, 130), (70, 130, 130),
)  # fmt: skip
_SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((120, 176, 226), (216, 234, 244)), ((236, 170, 120), (250, 226, 180)),
    ((150, 160, 172), (206, 210, 214)), ((96, 120, 176), (214, 190, 200)),
)  # fmt: skip
_GRASS: tuple[Colour, ...] = (
    (104, 150, 74), (128, 160, 84), (90, 128, 84), (196, 176, 130), (226, 230, 236), (150, 122, 80),
)  # fmt: skip


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    colour = colours[int(rng.integers(len(colours)))]
    shift = rng.integers(-16, 17, 3)
    red, green, blue = (int(np.clip(c + s, 0, 255)) for c, s in zip(colour, shift, strict=True))
    return red, green, blue


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (int(min(255, c * factor)) for c in colour)
    return red, green, blue


def _gradient(size: int, top: Colour, bottom: Colour, sideways: float) -> Image.Image:
    corners = np.zeros((2, 2, 3))
    corners[0], corners[1] = top, bottom
    corners[:, 0] *= 1 + sideways
    corners[:, 1] *= 1 - sideways
    small = Image.fromarray(np.clip(corners, 0, 255).astype(np.uint8))
    # Half a pixel in from each side: the gradient then runs over the whole square.
    return small.resize((size, size), Image.Resampling.BILINEAR, (0.5, 0.5, 1.5, 1.5))


def _room(size: int, horizon: int, rng: np.random.Generator) -> Image.Image:
    wall = _pick(rng, _WALLS)
    picture = _gradient(size, _shade(wall, 1.08), _shade(wall, 0.9), rng.uniform(-0.12, 0.12))
    pen = ImageDraw.Draw(picture)
    u = size / 100.0
    if rng.random() < 0.3:
        stripe, step = _shade(wall, 0.94), rng.uniform(5, 12) * u
        for i in range(0, int(size / step) + 1, 2):
            pen.rectangle((i * step, 0, (i + 1) * step, horizon), fill=stripe)
    if rng.random() < 0.5:
        x, w = rng.uniform(0, 70) * u, rng.uniform(22, 34) * u
        top, low = rng.uniform(2, 10) * u, rng.uniform(38, 50) * u
        sky = _SKIES[int(rng.integers(len(_SKIES)))]
        pen.rectangle(
            (x, top, x + w, low), fill=sky[1], outline=(240, 238, 232), width=max(1, int(2 * u))
        )
        pen.line((x + w / 2, top, x + w / 2, low), fill=(240, 238, 232), width=max(1, int(1.5 * u)))
    else:
        x, w = rng.uniform(4, 70) * u, rng.uniform(14, 24) * u
        top = rng.uniform(6, 20) * u
        pen.rectangle(
            (x, top, x + w, top + w * 0.8),
            fill=_pick(rng, _SOFT),
            outline=(90, 66, 44),
            width=max(1, int(1.4 * u)),
        )
    floor = _pick(rng, _FLOORS)
    pen.rectangle((0, horizon, size, size), fill=floor)
    for i in range(1, 6):
        y = horizon + (size - horizon) * (i / 6) ** 1.4
        pen.line((0, y, size, y), fill=_shade(floor, 0.9), width=1)
    pen.rectangle((0, horizon - 2 * u, size, horizon), fill=_shade(wall, 1.15))
    kind = rng.random()
    if kind < 0.35:
        cloth = _pick(rng, _SOFT)
        pen.ellipse((8 * u, horizon + 8 * u, 92 * u, horizon + 34 * u), fill=_shade(cloth, 0.85))
        pen.ellipse((12 * u, horizon + 10 * u, 88 * u, horizon + 32 * u), fill=cloth)
    elif kind < 0.65:
        cloth = _pick(rng, _SOFT)
        pen.rounded_rectangle(
            (-8 * u, horizon - 26 * u, 108 * u, horizon + 6 * u), 8 * u, fill=cloth
        )
        pen.rounded_rectangle(
            (-8 * u, horizon, 108 * u, horizon + 40 * u), 6 * u, fill=_shade(cloth, 0.86)
        )
    return picture


def _garden(size: int, horizon: int, rng: np.random.Generator) -> Image.Image:
    top, low = _SKIES[int(rng.integers(len(_SKIES)))]
    picture = _gradient(size, top, low, rng.uniform(-0.1, 0.1))
    pen = ImageDraw.Draw(picture)
    u = size / 100.0
    ground = _pick(rng, _GRASS)
    for _ in range(int(rng.integers(1, 4))):
        x, r = rng.uniform(0, 100) * u, rng.uniform(18, 40) * u
        pen.ellipse(
            (x - r * 1.4, horizon - r * 0.5, x + r * 1.4, horizon + r),
            fill=_shade(ground, rng.uniform(0.7, 0.95)),
        )
    for _ in range(int(rng.integers(0, 3))):
        x, r = rng.uniform(0, 100) * u, rng.uniform(7, 13) * u
        y = horizon - rng.uniform(14, 26) * u
        pen.rectangle((x - u, y, x + u, horizon), fill=(96, 74, 54))
        pen.ellipse(
            (x - r, y - r, x + r, y + r), fill=_shade((92, 132, 78), rng.uniform(0.75, 1.2))
        )
    if rng.random() < 0.3:
        board = _pick(rng, _FLOORS)
        for i in range(11):
            pen.rectangle(
                (i * 10 * u, horizon - 24 * u, (i * 10 + 7.5) * u, horizon + u), fill=board
            )
    pen.rectangle((0, horizon, size, size), fill=ground)
    for x, y, tone in rng.uniform(0, 1, (60, 3)):
        px, py = x * size, horizon + y * (size - horizon)
        pen.line(
            (px, py, px + (tone - 0.5) * 4 * u, py - 3 * u),
            fill=_shade(ground, 0.8 + 0.4 * tone),
            width=max(1, int(0.6 * u)),
        )
    if rng.random() < 0.4:
        for x, y in rng.uniform(0, 1, (8, 2)):
            px, py = x * size, horizon + (0.1 + 0.9 * y) * (size - horizon)
            pen.ellipse((px - u, py - u, px + u, py + u), fill=_pick(rng, _SOFT))
    return picture


def background(size: int, horizon: float, rng: np.random.Generator) -> Image.Image:
    """An RGB scene of `size` px; the ground begins at `horizon` (px from the top)."""
    place = _room if rng.random() < 0.6 else _garden
    picture = place(size, int(horizon), rng)
    return picture.filter(ImageFilter.BoxBlur(size * rng.uniform(0.004, 0.012)))


def shadow(picture: Image.Image, box: tuple[float, float, float, float]) -> None:
    """A soft dark ellipse on the ground, in place."""
    x0, y0, x1, y1 = (int(v) for v in box)
    step = 4
    small = Image.new("L", (max(2, (x1 - x0) // step), max(2, (y1 - y0) // step)))
    w, h = small.size
    ImageDraw.Draw(small).ellipse((w * 0.12, h * 0.15, w * 0.88, h * 0.85), fill=120)
    small = small.filter(ImageFilter.GaussianBlur(h * 0.12))
    mask = small.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)
    picture.paste((30, 26, 30), (x0, y0), mask)


def ledge(picture: Image.Image, top: float, rng: np.random.Generator) -> None:
    """A shelf that hides what lies below `top`, in place. Paws are drawn over it afterwards."""
    board = _pick(rng, _FLOORS)
    pen = ImageDraw.Draw(picture)
    size = picture.width
    pen.rectangle((0, top, size, size), fill=_shade(board, 0.78))
    pen.rectangle((0, top, size, top + size * 0.035), fill=_shade(board, 1.12))
