"""Paints shapes that look round and furry onto a picture: outline, marks, hair and light.

Shapes come in a cat's units (see `poses`); a painter turns them into pixels. All that touches
many pixels is done by Pillow on 8-bit images, which is several times faster than numpy floats.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from training.drawn_cats.coat import Mark, mixed
from training.drawn_cats.geometry import Points, displaced, resample
from training.drawn_cats.traits import Colour, Hair, Pattern

_TILE = 512
_TEXTURE_SCALE = 3.84  # px a unit of the tiles below


@dataclass(frozen=True)
class Light:
    """Where the light comes from (-1 left, 1 right) and how deep the shadows are (0..1)."""

    side: float
    depth: float


@dataclass(frozen=True)
class Fur:
    """What the surface of a coat is like. `length` is in a cat's units."""

    hair: Hair
    pattern: Pattern
    length: float
    sheen: float


@cache
def _texture(kind: str) -> Image.Image:
    """A tile that a coat is multiplied with. It is the same in every process and every picture."""
    rng = np.random.default_rng(7)
    noise = rng.normal(0.0, 1.0, (_TILE, _TILE)).astype(np.float32)
    rows, columns = np.mgrid[0:_TILE, 0:_TILE].astype(np.float32)

    def smooth(values: np.ndarray, along: int, across: int) -> np.ndarray:
        for axis, width in ((0, along), (1, across)):
            values = np.mean([np.roll(values, shift, axis) for shift in range(width)], axis=0)
        return np.asarray(values / values.std())

    if kind == "curls":
        return _curls(rng)
    if kind == "waves":
        warp = 9.0 * smooth(rng.normal(0.0, 1.0, noise.shape), 48, 48)
        bend = 7.0 * np.abs(np.sin(columns / 19.0 + warp / 14.0))
        level = 0.92 + 0.1 * np.sin((rows + bend + warp * 0.6) * 2 * np.pi / 12.0)
    elif kind == "ticked":
        level = 0.92 + 0.15 * smooth(noise, 5, 2)
    elif kind == "wiry":
        level = 0.9 + 0.13 * smooth(noise, 2, 5) * np.sign(np.sin(columns / 3.0 + rows / 5.0))
    elif kind == "skin":
        level = 0.97 + 0.02 * smooth(noise, 9, 9)
    elif kind == "long":
        level = 0.965 + 0.07 * smooth(noise, 16, 2)
    else:
        level = 0.97 + 0.045 * smooth(noise, 6, 2)
    grey = Image.fromarray((np.clip(level, 0.45, 1.0) * 255).astype(np.uint8))
    return grey.convert("RGB")


def _curls(rng: np.random.Generator) -> Image.Image:
    """Ringlets: many arcs, each a dark line inside a light one."""
    tile = Image.new("L", (_TILE, _TILE), 232)
    pen = ImageDraw.Draw(tile)
    for x, y, size, turn in rng.uniform(0.0, 1.0, (1500, 4)):
        r = 8.0 + 7.0 * size
        left, top, start = x * _TILE, y * _TILE, 360.0 * turn
        for shrink, level in ((0.0, 254), (3.0, 190)):
            box = (left - r + shrink, top - r + shrink, left + r - shrink, top + r - shrink)
            pen.arc(box, start, start + 230, fill=level, width=3)
    return tile.filter(ImageFilter.GaussianBlur(1.2)).convert("RGB")


def texture_kind(hair: Hair, pattern: Pattern) -> str:
    if hair.curly:
        return "waves" if hair is Hair.CURLY else "curls"
    if hair is Hair.HAIRLESS:
        return "skin"
    if hair is Hair.WIRY:
        return "wiry"
    if pattern is Pattern.TICKED:
        return "ticked"
    return "long" if hair in (Hair.LONG, Hair.MEDIUM) else "short"


def fringe(outline: Points, fur: Fur, rng: np.random.Generator, share: float = 1.0) -> Points:
    """The outline with the free ends of the hair: tufts, curls or short stubble."""
    length = fur.length * share
    if fur.hair is Hair.HAIRLESS or length < 0.05:
        return outline
    if fur.hair.curly:
        ring = resample(outline, 0.7)
        wave = np.abs(np.sin(np.arange(len(ring)) * 0.45 + rng.uniform(0, 3)))
        return displaced(ring, length * (0.2 + 0.8 * wave))
    # Tufts of uneven width and length, bent downwards by their weight.
    step = 0.42 if length > 1.2 else 0.6
    ring = resample(outline, step)
    count = max(6, int(len(ring) * step / (0.9 + 0.55 * length)))
    borders = np.sort(rng.uniform(0, len(ring), count)).astype(np.int64)
    reach = rng.uniform(0.35, 1.0, count + 1)
    tuft = np.searchsorted(borders, np.arange(len(ring)), side="right")
    edges = np.concatenate([[0], borders, [len(ring)]])
    width = np.maximum(edges[tuft + 1] - edges[tuft], 1)
    place = (np.arange(len(ring)) - edges[tuft]) / width
    rise = length * reach[tuft] * (1.0 - np.abs(2.0 * place - 1.0)) ** 1.4
    hair = displaced(ring, rise)
    hair[:, 1] += 0.45 * rise
    return hair


class Painter:
    """Draws on `picture` (RGB), `scale` pixels a unit, unit (0, 0) at `origin` (pixels)."""

    def __init__(
        self,
        picture: Image.Image,
        scale: float,
        origin: tuple[float, float],
        light: Light,
        rng: np.random.Generator,
    ) -> None:
        self.picture = picture
        self.scale = scale
        self.origin = np.asarray(origin)
        self.light = light
        self.rng = rng
        self.cast: Points | None = None  # what throws a soft shadow on the shapes, in units

    def pixels(self, points: Points) -> Points:
        return np.asarray(points * self.scale + self.origin, dtype=np.float64)

    def polygon(self, points: Points, colour: Colour) -> None:
        """A flat polygon, straight onto the picture."""
        ImageDraw.Draw(self.picture).polygon(self.pixels(points).ravel().tolist(), fill=colour)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """A line of `width` units."""
        ImageDraw.Draw(self.picture).line(
            self.pixels(points).ravel().tolist(),
            fill=colour,
            width=max(1, round(width * self.scale)),
            joint="curve",
        )

    def shape(
        self,
        outline: Points,
        base: Colour,
        marks: Iterable[Mark],
        fur: Fur,
        far: bool = False,
        core: tuple[Points, float] | None = None,
        soft: float = 0.35,
        round_share: float = 1.0,
    ) -> None:
        """A round, furry shape: `marks` clipped to `outline`, `soft` units of blur on them.

        `core` is a line through the shape and its width, in units.
        """
        ring = self.pixels(outline)
        low = np.floor(ring.min(axis=0)).astype(int) - 2
        high = np.ceil(ring.max(axis=0)).astype(int) + 3
        low = np.maximum(low, 0)
        high = np.minimum(high, self.picture.size)
        width, height = (int(n) for n in high - low)
        if width < 4 or height < 4:
            return
        mask = Image.new("L", (width, height))
        pen = ImageDraw.Draw(mask)
        pen.polygon((ring - low).ravel().tolist(), fill=255)
        if core is not None:
            # Where a sharp bend makes an outline cross itself, Pillow leaves a hole.
            bone = (self.pixels(core[0]) - low).ravel().tolist()
            pen.line(bone, fill=255, width=round(core[1] * self.scale), joint="curve")
        coat = Image.new("RGB", (width, height), base)
        pen = ImageDraw.Draw(coat)
        drawn = False
        for mark in marks:
            pen.polygon((self.pixels(mark.polygon) - low).ravel().tolist(), fill=mark.colour)
            drawn = True
        if drawn:
            coat = coat.filter(ImageFilter.BoxBlur(soft * self.scale))
        coat = ImageChops.multiply(
            coat, self._cut(texture_kind(fur.hair, fur.pattern), width, height)
        )
        coat = self._lit(coat, mask, low, base, fur, far, round_share)
        self.picture.paste(coat, (int(low[0]), int(low[1])), mask)

    def _cut(self, kind: str, width: int, height: int) -> Image.Image:
        """A random piece of a texture, as large in units whatever the size of the picture."""
        zoom = min(_TEXTURE_SCALE / self.scale, (_TILE - 1) / max(width, height))
        x = float(self.rng.uniform(0, _TILE - width * zoom))
        y = float(self.rng.uniform(0, _TILE - height * zoom))
        box = (x, y, x + width * zoom, y + height * zoom)
        return _texture(kind).resize((width, height), Image.Resampling.BILINEAR, box)

    def _lit(
        self,
        coat: Image.Image,
        mask: Image.Image,
        corner: NDArray[np.int64],
        base: Colour,
        fur: Fur,
        far: bool,
        round_share: float,
    ) -> Image.Image:
        """Darker towards the edges and away from the light; a rim of light on dark coats."""
        width, height = mask.size
        step = 6
        small = Image.new("L", (width // step + 6, height // step + 6))
        small.paste(
            mask.resize((max(1, width // step), max(1, height // step)), Image.Resampling.BOX),
            (3, 3),
        )
        if self.cast is not None:
            shadow = (self.pixels(self.cast) - corner) / step + 3
            ImageDraw.Draw(small).polygon(shadow.ravel().tolist(), fill=70)
        radius = 0.16 * min(small.size) * round_share
        small = small.filter(ImageFilter.GaussianBlur(max(1.0, radius)))
        dx = -self.light.side * radius * 0.7
        box = (3 + dx, 3 + radius * 0.5, 3 + dx + width / step, 3 + radius * 0.5 + height / step)
        box = (
            max(0.0, box[0]),
            max(0.0, box[1]),
            min(float(small.width), box[2]),
            min(float(small.height), box[3]),
        )
        inside = small.resize((width, height), Image.Resampling.BILINEAR, box)
        luma = (base[0] * 3 + base[1] * 6 + base[2]) / 10
        depth = self.light.depth * (0.72 if luma > 190 else 1.0) + (0.18 if far else 0.0)
        shade = inside.point(
            [
                round(255 * (1 - depth * (1 - min(1.0, i / 235)) ** 1.2) * (0.86 if far else 1.0))
                for i in range(256)
            ]
        )
        coat = ImageChops.multiply(coat, Image.merge("RGB", (shade, shade, shade)))
        rim = max(fur.sheen, 0.0 if luma > 90 else 0.35 * (1 - luma / 110))
        if rim > 0.02 and not far:
            tip = mixed(base, (226, 232, 240), 0.9 if fur.sheen else 0.45)
            edge = inside.point(
                [round(255 * rim * max(0.0, 1 - i / 190) ** 1.5) for i in range(256)]
            )
            coat.paste(tip, (0, 0), edge)
        return coat
