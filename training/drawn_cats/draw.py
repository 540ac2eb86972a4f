"""One drawn cat as a picture.

    draw_cat("Siamese", (7, 0), size=256).save("siamese.png")

The same seed and library versions give the same pixels, whatever was drawn before.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.drawn_cats import scene
from training.drawn_cats.breeds import CLASSES, breed_named
from training.drawn_cats.coat import base_colour, marks_of, mixed, paw_colour
from training.drawn_cats.face import face_marks
from training.drawn_cats.geometry import Frame, ellipse
from training.drawn_cats.head import Look, draw_head
from training.drawn_cats.painter import Fur, Light, Painter, fringe
from training.drawn_cats.poses import GROUND, Figure, Part, Pose, Zone, figure
from training.drawn_cats.traits import Breed, Colour

_SUPERSAMPLING = 2
_POSES = tuple(Pose)
_POSE_SHARES = (0.24, 0.2, 0.2, 0.16, 0.2)
_ZONES = tuple(Zone)
_GOLDEN = (
    "Siamese", "Sphynx - Hairless Cat", "Russian Blue", "Bengal",
    "Persian", "Calico", "Tuxedo", "Maine Coon",
)  # fmt: skip


@dataclass(frozen=True)
class Animal:
    """One cat: its breed, and the seed of all that is the same in each of its photos."""

    breed: Breed
    seed: int

    @classmethod
    def born(cls, breed: str, rng: np.random.Generator) -> Animal:
        """A cat of `breed` (UnknownBreedError otherwise), a little different from all others."""
        typical = breed_named(breed)
        seed = int(rng.integers(2**63))
        rng = np.random.default_rng((seed, 102))
        shade = rng.uniform(0.93, 1.07) * rng.uniform(0.98, 1.02, 3)
        iris = rng.uniform(0.92, 1.08) * rng.uniform(0.96, 1.04, 3)
        coat, build, ears = typical.coat, typical.build, typical.ears
        return cls(
            replace(
                typical,
                coat=replace(
                    coat,
                    ground=_tinted(coat.ground, shade),
                    mark=_tinted(coat.mark, shade),
                    second=_tinted(coat.second, shade),
                ),
                build=replace(
                    build,
                    girth=build.girth * rng.uniform(0.95, 1.06),
                    head=build.head * rng.uniform(0.97, 1.04),
                ),
                ears=replace(ears, size=ears.size * rng.uniform(0.95, 1.06)),
                eyes=(_tinted(typical.eyes[0], iris), _tinted(typical.eyes[1], iris)),
            ),
            seed,
        )

    def rng(self, *what: int) -> np.random.Generator:
        """The generator of one of the animal's traits."""
        return np.random.default_rng((self.seed, *what))


def _tinted(colour: Colour, factors: NDArray[np.float64]) -> Colour:
    red, green, blue = (int(min(255.0, c * f)) for c, f in zip(colour, factors, strict=True))
    return red, green, blue


def draw_cat(
    breed: str,
    seed: np.random.Generator | int | Sequence[int],
    size: int = 256,
    pose: Pose | None = None,
) -> Image.Image:
    """A new cat of `breed` as an RGB picture of `size` x `size` px.

    Args:
        breed: one of `CLASSES`; anything else raises UnknownBreedError.
        seed: a generator, which is advanced, or seed numbers for a new one.
        pose: drawn at random when left out.
    """
    rng = np.random.default_rng(seed)
    return draw_photo(Animal.born(breed, rng), rng, size, pose)


def draw_photo(
    animal: Animal, rng: np.random.Generator, size: int = 256, pose: Pose | None = None
) -> Image.Image:
    """A photo of `animal`: `rng` decides on pose, place, light and noise, not on its marks."""
    chosen = _POSES[int(rng.choice(len(_POSES), p=_POSE_SHARES))] if pose is None else pose
    whole = size * _SUPERSAMPLING
    cat = figure(animal.breed, chosen, rng)
    # The ears stay in the picture, and so do the paws.
    top = cat.head[1] - cat.head_radius * (0.95 + 0.55 * animal.breed.ears.size)
    low = GROUND + (2.0 if cat.edge is None else 7.0)
    scale = whole * min(rng.uniform(0.78, 1.04) / 100.0, 0.97 / (low - top))
    room = whole * 0.99 - (low - top) * scale
    origin = (
        max(
            (whole - 100.0 * scale) / 2 + whole * rng.uniform(-0.06, 0.06),
            (1.25 * cat.head_radius - cat.head[0]) * scale,
        ),
        whole * 0.01 - top * scale + room * rng.uniform(0.4, 1.0),
    )
    ground = origin[1] + GROUND * scale
    picture = scene.background(whole, ground - whole * rng.uniform(0.1, 0.26), rng)
    light = Light(float(rng.choice((-1.0, 1.0)) * rng.uniform(0.2, 1.0)), rng.uniform(0.34, 0.56))
    painter = Painter(picture, scale, origin, light, rng)
    if cat.edge is None:
        x, half = origin[0] + 54 * scale, 42 * scale
        scene.shadow(picture, (x - half, ground - 5 * scale, x + half, ground + 5 * scale))
    _draw_figure(painter, animal, cat)
    picture = picture.reduce(_SUPERSAMPLING)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _photographed(picture, rng)


def _draw_figure(painter: Painter, animal: Animal, cat: Figure) -> None:
    breed, rng = animal.breed, painter.rng
    length = breed.hair.shaggy * cat.head_radius
    fur = Fur(breed.hair, breed.coat.pattern, length, breed.coat.sheen)
    x, y = cat.head
    painter.cast = ellipse((x, y + 0.5 * cat.head_radius), (cat.head_radius, cat.head_radius))
    legs = [part for part in cat.parts if part.zone is Zone.LEG]
    for part in cat.parts:
        if cat.edge is None or part.zone is not Zone.LEG:
            _draw_part(painter, animal, part, fur)
    if cat.edge is not None:
        scene.ledge(painter.picture, painter.origin[1] + cat.edge * painter.scale, rng)
        for part in legs:
            _draw_part(painter, animal, part, fur)
    painter.cast = None
    frame = Frame(cat.head, cat.head_radius, cat.tilt, cat.yaw)
    look = Look(
        breed.eyes,
        blink=float(rng.uniform(0.0, 0.5)),
        gaze=float(rng.uniform(-0.6, 0.6)),
        pupil=float(rng.uniform(0.16, 0.46)),
    )
    draw_head(painter, breed, frame, fur, look, face_marks(breed, animal.rng(100)))


def _draw_part(painter: Painter, animal: Animal, part: Part, fur: Fur) -> None:
    breed = animal.breed
    marks = marks_of(part, breed, animal.rng(_ZONES.index(part.zone), part.number))
    share = {Zone.BODY: 1.0, Zone.HAUNCH: 0.5, Zone.LEG: 0.3, Zone.TAIL: 1.0, Zone.RUFF: 1.0}[
        part.zone
    ]
    outline = fringe(part.tube.outline(), fur, painter.rng, share)
    core = (part.tube.spine, float(part.tube.radius.mean()))
    painter.shape(outline, base_colour(breed.coat, part.zone), marks, fur, part.far, core)
    if part.zone is Zone.LEG:
        _draw_toes(painter, breed, part, fur)


def _draw_toes(painter: Painter, breed: Breed, part: Part, fur: Fur) -> None:
    """The lines between the toes, and a thumb for a cat that has more of them than others."""
    paw, radius = part.tube.spine[-1], float(part.tube.radius[-1])
    colour = paw_colour(breed.coat)
    if breed.extra_toes:
        side = -1.0 if part.number % 2 else 1.0
        thumb = ellipse(paw + radius * np.array([side * 0.95, 0.2]), (radius * 0.6, radius * 0.62))
        painter.shape(thumb, colour, (), fur, part.far)
    for gap in (-0.55, -0.18, 0.18, 0.55) if breed.extra_toes else (-0.36, 0.36):
        ends = paw + radius * np.array([(gap, 0.3), (gap * 1.1, 0.88)])
        painter.line(ends, mixed(colour, (40, 30, 34), 0.45), 0.12 * radius)


def _photographed(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Exposure, colour of the light, a little blur and sensor noise."""
    if rng.random() < 0.3:
        picture = picture.filter(
            ImageFilter.GaussianBlur(rng.uniform(0.2, 0.8) * picture.width / 256)
        )
    pixels = np.asarray(picture, dtype=np.float32)
    warmth = rng.uniform(-0.05, 0.05)
    gain = rng.uniform(0.84, 1.12) * np.array([1 + warmth, 1.0, 1 - warmth], dtype=np.float32)
    noise = rng.standard_normal(pixels.shape[:2], dtype=np.float32)[:, :, None]
    pixels = pixels * gain + noise * np.float32(rng.uniform(0.5, 5.0))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def golden_photos() -> list[bytes]:
    """Eight small drawn cats of eight breeds as PNG files, always the same eight."""
    photos = []
    for name in _GOLDEN:
        data = io.BytesIO()
        draw_cat(name, (2024, CLASSES.index(name)), size=112).save(data, "PNG", optimize=True)
        photos.append(data.getvalue())
    return photos
