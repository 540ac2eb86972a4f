from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from handlers.preprocessing import Preprocessing

BIT = Preprocessing(
    resize=(24, 32), crop=None, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
)
SIDES = st.integers(1, 90)


def scene(width: int, height: int) -> Image.Image:
    """Smooth, as photos are, and different everywhere."""
    pixels = torch.randint(20, 236, (4, 5, 3), generator=torch.Generator().manual_seed(1))
    small = Image.fromarray(pixels.to(torch.uint8).numpy())
    return small.resize((width, height), Image.Resampling.BILINEAR)


def test_output_is_scaled_and_normalised_per_channel() -> None:
    preprocessing = Preprocessing(
        resize=8, crop=8, interpolation="bicubic", mean=(0.1, 0.2, 0.3), std=(1.0, 0.5, 0.25)
    )
    tensor = preprocessing(Image.new("RGB", (8, 8), (255, 0, 51)))
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert tensor.shape == (3, *preprocessing.size)
    expected = torch.tensor([(1 - 0.1) / 1, (0 - 0.2) / 0.5, (0.2 - 0.3) / 0.25])
    torch.testing.assert_close(tensor.mean((1, 2)), expected)


def test_both_sides_are_height_and_width() -> None:
    assert BIT.size == (24, 32)
    assert BIT(scene(50, 60)).shape == (3, 24, 32)


@settings(max_examples=60, deadline=None)
@given(width=SIDES, height=SIDES, resize=st.integers(8, 40), crop=st.integers(1, 8))
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_same_as_torchvision_resize_and_centre_crop(
    interpolation: Any,  # noqa: ANN401
    width: int,
    height: int,
    resize: int,
    crop: int,
) -> None:
    photo = scene(width, height)
    ours = Preprocessing(resize, crop, interpolation, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))(photo)
    theirs = tv.center_crop(
        tv.resize(photo, [resize], interpolation=tv.InterpolationMode(interpolation)), [crop, crop]
    )
    torch.testing.assert_close(ours, tv.pil_to_tensor(theirs) / 255, atol=2.01 / 255, rtol=0)


@pytest.mark.parametrize("size", [(1, 3_000_000), (3_000_000, 1)])
def test_an_absurd_aspect_ratio_needs_no_absurd_memory(size: tuple[int, int]) -> None:
    preprocessing = Preprocessing(480, 448, "bilinear", (0.5,) * 3, (0.5,) * 3)
    assert preprocessing(Image.new("RGB", size, "red")).shape == (3, 448, 448)


def test_only_rgb_is_taken() -> None:
    with pytest.raises(ValueError, match="mode L is not allowed; RGB is"):
        BIT(Image.new("L", (9, 9)))


def test_survives_json() -> None:
    for preprocessing in (BIT, Preprocessing(40, 32, "bicubic", (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))):
        read = json.loads(json.dumps(preprocessing.to_dict()))
        assert Preprocessing.from_dict(read) == preprocessing


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resize": 0}, ["resize", "0"]),
        ({"resize": True}, ["resize", "True"]),
        ({"resize": [10]}, ["resize", "(height, width)"]),
        ({"resize": [10, "20"]}, ["resize", "'20'"]),
        ({"resize": 20}, ["crop", "None", "aspect"]),
        ({"crop": 25}, ["crop", "25", "1 to 24"]),
        ({"crop": 2.5}, ["crop", "2.5"]),
        ({"interpolation": "nearest"}, ["interpolation", "'nearest'", "bilinear", "bicubic"]),
        ({"mean": [0.5, 0.5]}, ["mean", "three"]),
        ({"mean": 0.5}, ["mean", "three"]),
        ({"mean": [0.5, 0.5, 10**400]}, ["mean", "-1000 to 1000"]),
        ({"mean": [0.5, 0.5, float("-inf")]}, ["mean", "-inf"]),
        ({"std": [1, 1, 0]}, ["std", "0.001 to 1000"]),
        # 0 in float32, which photos are computed in.
        ({"std": [1e-320, 1, 1]}, ["std", "1e-320", "0.001 to 1000"]),
        ({"std": [1, 1, -1]}, ["std", "-1"]),
        ({"std": [1, 1, float("nan")]}, ["std", "nan"]),
        ({"std": [1, 1, True]}, ["std", "True"]),
        ({"size": 3}, ["'size'", "allowed keys", "resize"]),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    change: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Preprocessing.from_dict(BIT.to_dict() | change)
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("key", list(BIT.to_dict()))
def test_a_missing_key_is_named(key: str) -> None:
    given = BIT.to_dict()
    del given[key]
    with pytest.raises(ValueError, match=f"'{key}' is missing"):
        Preprocessing.from_dict(given)
