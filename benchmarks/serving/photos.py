"""What is sent: drawn cats, enlarged to a camera's sizes, with a camera's noise.

A drawing is smooth and would be a tenth of a photo's bytes; decoding time goes with bytes as well
as with pixels. The noise is that of a sensor (more where it is bright, smeared a little by the
camera's own interpolation), so that the files have the sizes of real ones: 60-100 kB at 500 x 375,
which is what pet sites hold, and 3-5 MB at 12 megapixels, which is what a phone sends.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from training.drawn_cats import draw_cat

SETS = ("small", "large", "mixed")
_SEED = 2026


@dataclass(frozen=True)
class Photo:
    """An encoded photo. `size` is (width, height) in px."""

    name: str
    kind: str
    size: tuple[int, int]
    data: bytes


@dataclass(frozen=True)
class _Form:
    breed: str
    width: int
    height: int
    kind: str = "jpeg"
    quality: int = 90
    noise: float = 11.0


_FORMS: dict[str, tuple[_Form, ...]] = {
    "small": tuple(
        _Form(breed, 500, 375) for breed in ("Siamese", "Bengal", "Persian", "Maine Coon")
    ),
    "large": (_Form("Siamese", 4000, 3000, quality=92, noise=8.0),),
    "mixed": (
        _Form("Siamese", 500, 375),
        _Form("Bengal", 1280, 960),
        _Form("Calico", 375, 500),
        _Form("Tuxedo", 640, 480, "png"),
        _Form("Persian", 2048, 1536),
        _Form("Russian Blue", 800, 600, "webp", 80),
        _Form("Maine Coon", 300, 300),
        _Form("Siamese", 4000, 3000, quality=92, noise=8.0),
    ),
}


def photo_set(name: str) -> list[Photo]:
    """One of `SETS`; always the same bytes with the same library versions."""
    return list(_drawn(name))


def summary(photos: Sequence[Photo]) -> list[dict[str, object]]:
    """What was sent, for the report; bytes of each file."""
    return [
        {"name": each.name, "size": list(each.size), "kind": each.kind, "bytes": len(each.data)}
        for each in photos
    ]


@cache
def _drawn(name: str) -> tuple[Photo, ...]:
    return tuple(_photo(form, number) for number, form in enumerate(_FORMS[name]))


def _photo(form: _Form, number: int) -> Photo:
    picture = _photographed(form, np.random.default_rng((_SEED, number)))
    file = io.BytesIO()
    encode: dict[str, Callable[[], None]] = {
        "jpeg": lambda: picture.save(file, "JPEG", quality=form.quality),
        "png": lambda: picture.save(file, "PNG"),
        "webp": lambda: picture.save(file, "WEBP", quality=form.quality),
    }
    encode[form.kind]()
    name = f"{form.breed.lower().replace(' ', '-')}-{form.width}x{form.height}.{form.kind}"
    return Photo(name, form.kind, (form.width, form.height), file.getvalue())


def _photographed(form: _Form, rng: np.random.Generator) -> Image.Image:
    # Drawing takes seconds at 12 megapixels, and a lens is no sharper than this.
    drawn = draw_cat(form.breed, (_SEED, 1), size=min(1024, max(form.width, form.height)))
    side = max(form.width, form.height)
    whole = drawn.resize((side, side), Image.Resampling.BICUBIC)
    left, top = (side - form.width) // 2, (side - form.height) // 2
    picture = whole.crop((left, top, left + form.width, top + form.height))
    pixels = np.asarray(picture, dtype=np.float32)
    grain = rng.standard_normal(pixels.shape, dtype=np.float32)
    # Neighbours share their noise, as each pixel has a sensor of one colour only.
    grain = (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1)) / np.float32(3**0.5)
    # Shot noise: its variance goes with the light.
    pixels += grain * form.noise * np.sqrt(0.2 + pixels / 255)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
