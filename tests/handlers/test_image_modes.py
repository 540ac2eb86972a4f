from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handlers.image_modes import to_rgb


def as_png(image: Image.Image, **options: Any) -> Image.Image:  # noqa: ANN401
    """The image as it comes back from a file."""
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    opened = Image.open(file)
    opened.load()
    return opened


@pytest.mark.parametrize(
    "mode",
    ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"],
)
def test_every_pillow_mode_becomes_rgb(mode: str) -> None:
    straight = {"La": "LA", "RGBa": "RGBA"}.get(mode, mode)
    image = Image.new("RGB", (4, 4), "white").convert(straight).convert(mode)
    assert to_rgb(image).mode == "RGB"
    assert np.asarray(to_rgb(image)).min() >= 254


@pytest.mark.parametrize("mode", ["LA", "RGBA", "La", "RGBa", "PA"])
def test_transparency_lies_over_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    if mode == "PA":
        image = image.convert("RGBA").convert("PA")
    elif mode in ("LA", "La"):
        image = image.convert("LA").convert(mode)
    else:
        image = image.convert(mode)
    assert list(to_rgb(image).get_flattened_data()) == [(255,) * 3, (0,) * 3]


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_a_palette_s_transparency_lies_over_white(transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((1, 0), 1)
    photo = to_rgb(as_png(image, transparency=transparency))
    assert list(photo.get_flattened_data()) == [(255,) * 3, (200, 0, 0)]


def test_a_transparent_colour_lies_over_white() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    photo = to_rgb(as_png(image, transparency=(1, 2, 3)))
    assert list(photo.get_flattened_data()) == [(255,) * 3, (9, 9, 9)]
    grey = Image.fromarray(np.array([[500, 65535]], dtype=np.uint16))
    grey.info["transparency"] = 500
    assert list(to_rgb(grey).get_flattened_data()) == [(255,) * 3, (255,) * 3]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 257, 32896, 65535], np.uint16, [0, 1, 128, 255]),
        ([0, 257, 32896, 65535], ">u2", [0, 1, 128, 255]),
        ([0, 1, 128, 255], np.int32, [0, 1, 128, 255]),
        ([0, 257, 32896, 65535], np.int32, [0, 1, 128, 255]),
        ([-100, 0, 50, 100], np.int32, [0, 128, 191, 255]),
        ([-(2**31), 0, 0, 2**31 - 1], np.int32, [0, 128, 128, 255]),
        ([7, 7, 7, 7], np.int32, [7, 7, 7, 7]),
        ([0, 0.25, 0.5, 1], np.float32, [0, 64, 128, 255]),
        ([0, 64, 128, 255], np.float32, [0, 64, 128, 255]),
        ([-2, 0, 1, 2], np.float32, [0, 128, 191, 255]),
        ([float("nan"), float("inf"), 0.5, 1], np.float32, [0, 0, 128, 255]),
        ([-3, -3, -3, -3], np.float32, None),
    ],
)
def test_wide_values_are_scaled_by_their_range(
    values: list[float],
    dtype: Any,  # noqa: ANN401
    expected: list[int] | None,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        photo = to_rgb(Image.fromarray(np.array([values], dtype=dtype)))
    assert photo.mode == "RGB"
    if expected is not None:
        got = np.asarray(photo)[0, :, 0].astype(int)
        np.testing.assert_allclose(got, expected, atol=1, rtol=0)
