from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from handlers.preprocessing import Preprocessing
from training.fitting.augmentation import Augmentation
from training.spec import AugmentationSpec

PREPROCESSING = Preprocessing((40, 60), None, "bilinear", (0.5,) * 3, (0.5,) * 3)


def spec(crop: dict[str, Any] | None = None, **others: object) -> AugmentationSpec:
    return AugmentationSpec.model_validate({"crop": crop or {"kind": "none"}, **others})


def photo() -> Image.Image:
    random = np.random.default_rng(1)
    return Image.fromarray(random.integers(0, 256, (90, 120, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "chosen",
    [
        spec(),
        spec({"kind": "random", "resize": [50, 70]}),
        spec({"kind": "random-resized", "area": 0.3}),
        spec(shift=4, flip=True),
        spec(rotation=40.0, translate=0.2, shear=11.5, zoom=0.2, flip=True),
        spec(brightness=0.2, contrast=0.2, colour=0.2),
        spec(trivial_augment=True),
    ],
)
def test_a_view_has_the_input_s_size_and_follows_from_its_seed(chosen: AugmentationSpec) -> None:
    augmentation = Augmentation(chosen, PREPROCESSING)
    before = torch.get_rng_state()
    views = [np.asarray(augmentation(photo(), seed)) for seed in range(8)]
    assert torch.equal(torch.get_rng_state(), before)
    assert {view.shape for view in views} == {(40, 60, 3)}
    again = [np.asarray(augmentation(photo(), seed)) for seed in range(8)]
    assert all(map(np.array_equal, views, again))
    varied = len({view.tobytes() for view in views})
    assert varied == 1 if chosen == spec() else varied > 1


def test_without_variation_a_view_is_what_evaluation_sees() -> None:
    plain = Augmentation(spec(), PREPROCESSING)(photo(), 3)
    assert np.array_equal(np.asarray(plain), np.asarray(PREPROCESSING.resized(photo())))


def test_a_shift_repeats_the_edge() -> None:
    image = Image.new("RGB", (60, 40), (9, 8, 7))
    shifted = Augmentation(spec(shift=10), PREPROCESSING).vary(image, 5)
    assert np.array_equal(np.asarray(shifted), np.asarray(image))


def dark_views(chosen: AugmentationSpec) -> int:
    """Of 200 views of a white photo, how many show some of the black that turning brings in."""
    white = Image.new("RGB", (180, 120), "white")
    augmentation = Augmentation(chosen, PREPROCESSING)
    return sum(np.asarray(augmentation(white, seed)).min() < 128 for seed in range(200))


@pytest.mark.parametrize(
    "crop",
    [{"kind": "random-resized", "area": 0.08}, {"kind": "random", "resize": [160, 240]}],
)
def test_a_photo_is_turned_before_a_window_of_it_is_chosen(crop: dict[str, Any]) -> None:
    # A window that had been turned itself would have black corners in nearly every view.
    assert 20 < dark_views(spec(crop, rotation=25.0)) < 140
    assert dark_views(spec(crop)) == 0


def test_a_photo_that_is_seen_whole_is_turned_whole() -> None:
    assert dark_views(spec(rotation=25.0)) > 180


def test_a_photo_is_seen_whole_before_it_is_turned() -> None:
    """Its centre crop alone is turned: what lay beside it does not come in at the corners."""
    squares = Preprocessing(40, 40, "bilinear", (0.5,) * 3, (0.5,) * 3)
    photo = Image.new("RGB", (120, 40), "red")
    photo.paste((255, 255, 255), (40, 0, 80, 40))
    for seed in range(20):
        view = np.asarray(Augmentation(spec(rotation=45.0), squares)(photo, seed)).astype(int)
        # White or black, and grey between them; red has more of its own than of green.
        assert (view[..., 0] - view[..., 1]).max() < 100


def test_a_flip_mirrors_about_half_of_the_photos() -> None:
    flips = Augmentation(spec(flip=True), PREPROCESSING)
    plain = PREPROCESSING.resized(photo())
    mirrored = np.asarray(plain)[:, ::-1]
    views = [np.asarray(flips.vary(plain, seed)) for seed in range(200)]
    count = sum(np.array_equal(view, mirrored) for view in views)
    assert 70 < count < 130
    assert count + sum(np.array_equal(view, np.asarray(plain)) for view in views) == 200
