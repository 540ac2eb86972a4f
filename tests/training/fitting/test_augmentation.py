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


def test_a_flip_mirrors_about_half_of_the_photos() -> None:
    flips = Augmentation(spec(flip=True), PREPROCESSING)
    plain = PREPROCESSING.resized(photo())
    mirrored = np.asarray(plain)[:, ::-1]
    views = [np.asarray(flips.vary(plain, seed)) for seed in range(200)]
    count = sum(np.array_equal(view, mirrored) for view in views)
    assert 70 < count < 130
    assert count + sum(np.array_equal(view, np.asarray(plain)) for view in views) == 200
