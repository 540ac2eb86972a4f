"""The same photo gets the same answer in every format, mode and orientation, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.answers import ask, probabilities
from tests.images import ORIENTATIONS, encode, rgb, turned
from tests.service import DEMO, R50, Service

BOTH = pytest.mark.parametrize("model", [DEMO, R50])

Encode = Callable[[Image.Image], bytes]
Answers = dict[str, list[Any]]


def other(image: Image.Image) -> Image.Image:
    """A second frame that would be answered differently."""
    return Image.new("RGB", image.size, "green")


LOSSLESS: dict[str, Encode] = {
    "BMP": lambda image: encode(image, "BMP"),
    "TIFF": lambda image: encode(image, "TIFF"),
    "TIFF, LZW": lambda image: encode(image, "TIFF", compression="tiff_lzw"),
    "TIFF, deflate": lambda image: encode(image, "TIFF", compression="tiff_deflate"),
    "TIFF, two pages": lambda image: encode(
        image, "TIFF", save_all=True, append_images=[other(image)]
    ),
    "WebP": lambda image: encode(image, "WEBP", lossless=True),
    "WebP, animated": lambda image: encode(
        image, "WEBP", lossless=True, save_all=True, append_images=[other(image)]
    ),
    "PNG, animated": lambda image: encode(
        image, "PNG", save_all=True, append_images=[other(image)]
    ),
}
LOSSY: dict[str, Encode] = {
    "JPEG": lambda image: encode(image, "JPEG", quality=95, subsampling=0),
    "JPEG, progressive": lambda image: encode(image, "JPEG", quality=95, progressive=True),
    "JPEG, CMYK": lambda image: encode(image.convert("CMYK"), "JPEG", quality=95),
    "JPEG, more pictures behind it": lambda image: encode(
        image, "MPO", quality=95, save_all=True, append_images=[other(image)]
    ),
    "WebP": lambda image: encode(image, "WEBP", quality=95),
    "AVIF": lambda image: encode(image, "AVIF", quality=95),
    "HEIC": lambda image: encode(image, "HEIF", quality=95),
    "HEIC, lossless": lambda image: encode(image, "HEIF", quality=-1, chroma=444),
}


def on_white(image: Image.Image) -> Image.Image:
    """What a viewer with a white background shows, computed the long way."""
    pixels = np.asarray(image.convert("RGBA")).astype(np.float64)
    alpha = pixels[..., 3:] / 255
    return Image.fromarray((pixels[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8))


def half_transparent(image: Image.Image) -> Image.Image:
    """The photo with transparency rising from its left to its right edge."""
    ramp = np.linspace(255, 0, image.width).round().astype(np.uint8)
    image = image.copy()
    image.putalpha(Image.fromarray(np.tile(ramp, (image.height, 1))))
    return image


def paletted(image: Image.Image) -> Image.Image:
    return image.quantize(200, dither=Image.Dither.NONE)


def paletted_with_hole(image: Image.Image) -> Image.Image:
    """A palette whose most used colour is transparent."""
    image = paletted(image)
    image.info["transparency"] = int(np.bincount(np.asarray(image).ravel()).argmax())
    return image


def grey_16_bit(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def grey_alpha(image: Image.Image) -> Image.Image:
    return half_transparent(image.convert("L"))


# The photo in another mode, how it is written, and the RGB picture that it stands for.
MODES: dict[str, tuple[Encode, Encode]] = {
    "1": (
        lambda image: encode(image.convert("1"), "PNG"),
        lambda image: encode(image.convert("1").convert("RGB"), "PNG"),
    ),
    "1, fax TIFF": (
        lambda image: encode(image.convert("1"), "TIFF", compression="group4"),
        lambda image: encode(image.convert("1").convert("RGB"), "PNG"),
    ),
    "L": (
        lambda image: encode(image.convert("L"), "PNG"),
        lambda image: encode(image.convert("L").convert("RGB"), "PNG"),
    ),
    "LA": (
        lambda image: encode(grey_alpha(image), "PNG"),
        lambda image: encode(on_white(grey_alpha(image)), "PNG"),
    ),
    "P": (
        lambda image: encode(paletted(image), "PNG"),
        lambda image: encode(paletted(image).convert("RGB"), "PNG"),
    ),
    "P, transparent": (
        lambda image: encode(paletted_with_hole(image), "PNG"),
        lambda image: encode(on_white(paletted_with_hole(image)), "PNG"),
    ),
    "P, GIF": (
        lambda image: encode(paletted(image), "GIF"),
        lambda image: encode(paletted(image).convert("RGB"), "PNG"),
    ),
    "P, animated GIF": (
        lambda image: encode(
            paletted(image), "GIF", save_all=True, append_images=[other(image)], duration=50
        ),
        lambda image: encode(paletted(image).convert("RGB"), "PNG"),
    ),
    "RGBA": (
        lambda image: encode(half_transparent(image), "PNG"),
        lambda image: encode(on_white(half_transparent(image)), "PNG"),
    ),
    "RGBA, WebP": (
        lambda image: encode(half_transparent(image), "WEBP", lossless=True, exact=True),
        lambda image: encode(on_white(half_transparent(image)), "PNG"),
    ),
    "CMYK, TIFF": (
        lambda image: encode(image.convert("CMYK"), "TIFF"),
        lambda image: encode(image, "PNG"),
    ),
    "16 bits, PNG": (
        lambda image: encode(grey_16_bit(image), "PNG"),
        lambda image: encode(image.convert("L").convert("RGB"), "PNG"),
    ),
    "16 bits, TIFF": (
        lambda image: encode(grey_16_bit(image), "TIFF"),
        lambda image: encode(image.convert("L").convert("RGB"), "PNG"),
    ),
}


@pytest.fixture(scope="module")
def upright(cat_photo: bytes) -> Image.Image:
    return rgb(cat_photo)


@pytest.fixture(scope="module")
def as_png(service: Service, upright: Image.Image) -> Answers:
    """{model: all predictions for the photo as PNG}."""
    png = encode(upright, "PNG")
    return {model: ask(service, model, png)["predictions"] for model in (DEMO, R50)}


@BOTH
@pytest.mark.parametrize("form", LOSSLESS)
def test_a_lossless_format_gives_the_answer_of_the_png(
    service: Service, upright: Image.Image, as_png: Answers, model: str, form: str
) -> None:
    answer = ask(service, model, LOSSLESS[form](upright))
    assert answer["predictions"] == as_png[model]


@BOTH
@pytest.mark.parametrize("form", LOSSY)
def test_a_lossy_format_gives_nearly_the_answer_of_the_png(
    service: Service, upright: Image.Image, as_png: Answers, model: str, form: str
) -> None:
    expected = probabilities({"predictions": as_png[model]})
    got = probabilities(ask(service, model, LOSSY[form](upright)))
    assert max(got, key=got.__getitem__) == max(expected, key=expected.__getitem__)
    assert got == pytest.approx(expected, abs=0.1)


@BOTH
@pytest.mark.parametrize("mode", MODES)
def test_a_mode_gives_the_answer_of_the_rgb_picture_it_stands_for(
    service: Service, upright: Image.Image, model: str, mode: str
) -> None:
    as_mode, as_rgb = MODES[mode]
    expected = probabilities(ask(service, model, as_rgb(upright)))
    got = probabilities(ask(service, model, as_mode(upright)))
    assert max(got, key=got.__getitem__) == max(expected, key=expected.__getitem__)
    # Blending with white may round to either side.
    assert got == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(
    ("model", "form"), [(DEMO, "PNG"), (DEMO, "TIFF"), (DEMO, "WEBP"), (R50, "PNG")]
)
def test_a_turned_lossless_photo_is_answered_as_the_upright_one(
    service: Service, upright: Image.Image, as_png: Answers, model: str, form: str, orientation: int
) -> None:
    image, exif = turned(upright, orientation)
    options = {"lossless": True} if form == "WEBP" else {}
    answer = ask(service, model, encode(image, form, exif=exif, **options))
    assert answer["predictions"] == as_png[model]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("form", ["JPEG", "AVIF", "HEIF"])
def test_a_turned_photo_has_the_upright_ones_breed(
    service: Service, upright: Image.Image, as_png: Answers, form: str, orientation: int
) -> None:
    image, exif = turned(upright, orientation)
    expected = probabilities({"predictions": as_png[DEMO]})
    got = probabilities(ask(service, DEMO, encode(image, form, exif=exif, quality=95)))
    assert max(got, key=got.__getitem__) == max(expected, key=expected.__getitem__) == "Siamese"
    assert got == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("orientation", ORIENTATIONS[1:])
def test_without_its_orientation_a_turned_photo_is_another(
    service: Service, upright: Image.Image, as_png: Answers, orientation: int
) -> None:
    """Else the tests above would prove nothing. To the demo, mirrored is the same."""
    image, _ = turned(upright, orientation)
    assert ask(service, R50, encode(image, "PNG"))["predictions"] != as_png[R50]
