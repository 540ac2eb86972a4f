"""The values that the systems which this project takes over were trained with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from training.models import bit
from training.recipe import load_recipe

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# The only phase of most recipes.
PHASE = "training.phases.0"

# All of it, but for name and card.
ORIGINAL: dict[str, Any] = {
    "architecture.file": "bit",
    "architecture.options.units": [3, 4, 6, 3],
    "architecture.options.width": 1.0,
    "architecture.weights": "BiT-M-R50x1.npz",
    # The shorter side to 128, centre crop, [-1, 1].
    "preprocessing.resize": 128,
    "preprocessing.crop": 128,
    "preprocessing.interpolation": "bilinear",
    "preprocessing.mean": [0.5, 0.5, 0.5],
    "preprocessing.std": [0.5, 0.5, 0.5],
    # 20% held out, in two halves.
    "data.layout": "cat-breeds",
    "data.validation": 0.1,
    "data.test": 0.1,
    "data.seed": 42,
    # A flip, and nothing else.
    "augmentation.crop.kind": "none",
    "augmentation.flip": True,
    "augmentation.shift": 0,
    "augmentation.rotation": 0.0,
    "augmentation.shear": 0.0,
    "augmentation.zoom": 0.0,
    "augmentation.translate": 0.0,
    "augmentation.brightness": 0.0,
    "augmentation.contrast": 0.0,
    "augmentation.colour": 0.0,
    "augmentation.trivial_augment": False,
    "augmentation.mixup": 0.0,
    # 512 as 2 x 256.
    "training.batch_size": 512,
    "training.micro_batch": 256,
    "training.precision": "auto",
    # Plain cross-entropy.
    "training.imbalance": "none",
    "training.label_smoothing": 0.0,
    "training.clip_norm": 0.0,
    "training.metric": "top1",
    "training.evaluate_every": 100,
    "training.early_stop": 0,
    "training.checkpoint_minutes": 5.0,
    "training.cache_photos": False,
    "training.seed": 42,
    # All layers at one rate, 500 steps: warm-up 100, then a tenth at each hundred.
    f"{PHASE}.train": "all",
    f"{PHASE}.epochs": None,
    f"{PHASE}.steps": 500,
    f"{PHASE}.cached_views": 0,
    f"{PHASE}.learning_rate": 0.003,
    f"{PHASE}.backbone_factor": 1.0,
    f"{PHASE}.freeze_norm": False,
    f"{PHASE}.optimiser.kind": "sgd",
    f"{PHASE}.optimiser.momentum": 0.9,
    f"{PHASE}.optimiser.nesterov": False,
    f"{PHASE}.optimiser.weight_decay": 0.0,
    f"{PHASE}.schedule.kind": "steps",
    f"{PHASE}.schedule.warmup": 100,
    f"{PHASE}.schedule.drops": [200, 300, 400],
}

OTHERS: dict[str, dict[str, Any]] = {
    # BiT-HyperRule for 126,607 photos of 96 x 96 and more.
    "cat-breeds": {
        "architecture": {
            "file": "bit",
            "options": {"units": [3, 4, 6, 3], "width": 1.0},
            "weights": "BiT-M-R50x1.npz",
        },
        # Straight to the crop's size, both sides.
        "preprocessing.resize": [480, 480],
        "preprocessing.crop": None,
        "preprocessing.mean": [0.5, 0.5, 0.5],
        "preprocessing.std": [0.5, 0.5, 0.5],
        "data.layout": "cat-breeds",
        "data.seed": 42,
        "augmentation.crop": {"kind": "random", "resize": [512, 512]},
        "augmentation.flip": True,
        "augmentation.mixup": "hyperrule",
        "training.batch_size": 512,
        "training.label_smoothing": 0.0,
        "training.imbalance": "none",
        "training.seed": 42,
        f"{PHASE}.train": "all",
        f"{PHASE}.learning_rate": 0.003,
        f"{PHASE}.backbone_factor": 1.0,
        f"{PHASE}.optimiser": {
            "kind": "sgd",
            "momentum": 0.9,
            "nesterov": False,
            "weight_decay": 0.0,
        },
        f"{PHASE}.schedule": {"kind": "hyperrule"},
    },
    "pets": {
        "architecture.file": "resnet",
        "architecture.options": {"layers": [3, 4, 6, 3]},
        "architecture.weights": "resnet34-b627a593.pth",
        "preprocessing.resize": 256,
        "preprocessing.crop": 224,
        "preprocessing.mean": IMAGENET_MEAN,
        "preprocessing.std": IMAGENET_STD,
        "data.layout": "pets",
        "data.validation": 0.1,
        "data.test": 0.1,
        "data.seed": 42,
        # To 224, the size of the input: flip, zoom and others.
        "augmentation.crop.kind": "random-resized",
        "augmentation.crop.size": None,
        "augmentation.flip": True,
        # What the error rate is one less.
        "training.metric": "top1",
        "training.seed": 42,
        # The head, then all.
        f"{PHASE}.train": "head",
        "training.phases.1.train": "all",
    },
    "animals-10": {
        "architecture.file": "vgg",
        "architecture.options": {},
        "architecture.weights": "vgg16-397923af.pth",
        "preprocessing.resize": 255,
        "preprocessing.crop": 224,
        "preprocessing.mean": IMAGENET_MEAN,
        "preprocessing.std": IMAGENET_STD,
        "data.layout": "animals-10",
        "data.validation": 0.1,
        "data.test": 0.1,
        # torchvision's RandomResizedCrop by default.
        "augmentation.crop": {
            "kind": "random-resized",
            "area": 0.08,
            "ratio": 4 / 3,
            "size": None,
        },
        "augmentation.rotation": 25.0,
        "augmentation.flip": True,
        "augmentation.mixup": 0.0,
        "training.batch_size": 32,
        f"{PHASE}.train": "head",
        f"{PHASE}.epochs": 5,
        f"{PHASE}.learning_rate": 0.001,
        f"{PHASE}.optimiser": {"kind": "adam", "weight_decay": 0.0},
        f"{PHASE}.schedule": {"kind": "cosine", "floor": 1e-5, "half_period": 2},
    },
    "dogs-vs-cats": {
        "architecture.file": "inception",
        "architecture.options": {"input_size": [150, 150]},
        "architecture.weights": "inception_v3_google-0cc3c7bd.pth",
        "preprocessing.resize": [150, 150],
        # The original had /255 alone; torchvision's file expects [-1, 1].
        "preprocessing.mean": [0.5, 0.5, 0.5],
        "preprocessing.std": [0.5, 0.5, 0.5],
        "data.layout": "dogs-vs-cats",
        # 5,000 of 25,000 held out, in two halves.
        "data.validation": 0.1,
        "data.test": 0.1,
        "augmentation.crop.kind": "none",
        "augmentation.rotation": 40.0,
        "augmentation.translate": 0.2,
        # 0.2 radians.
        "augmentation.shear": 11.5,
        "augmentation.zoom": 0.2,
        "augmentation.flip": True,
        "training.batch_size": 128,
        "training.early_stop": 5,
        f"{PHASE}.train": "head",
        f"{PHASE}.epochs": 50,
    },
    "dogs-vs-cats-cnn": {
        "architecture.file": "plain_cnn",
        "architecture.options": {"input_size": [150, 150]},
        "architecture.weights": "none",
        "preprocessing.resize": [150, 150],
        # /255, and no more.
        "preprocessing.mean": [0.0, 0.0, 0.0],
        "preprocessing.std": [1.0, 1.0, 1.0],
        "data.layout": "dogs-vs-cats",
        "data.validation": 0.1,
        "data.test": 0.1,
        "augmentation.crop.kind": "none",
        "augmentation.rotation": 40.0,
        "augmentation.translate": 0.2,
        "augmentation.shear": 11.5,
        "augmentation.zoom": 0.2,
        "augmentation.flip": True,
        "training.batch_size": 128,
        "training.early_stop": 10,
        f"{PHASE}.train": "all",
        f"{PHASE}.epochs": 50,
    },
    "cats-and-dogs": {
        "architecture.file": "cnn",
        "architecture.options": {},
        "architecture.weights": "none",
        "preprocessing.resize": [224, 224],
        "preprocessing.crop": None,
        # No normalisation.
        "preprocessing.mean": [0.0, 0.0, 0.0],
        "preprocessing.std": [1.0, 1.0, 1.0],
        "data.layout": "cats-and-dogs",
        # The layout has a test set of its own.
        "data.test": 0.0,
        "data.seed": 42,
        "augmentation.crop.kind": "none",
        "augmentation.trivial_augment": True,
        "augmentation.flip": False,
        "training.batch_size": 32,
        "training.label_smoothing": 0.0,
        "training.seed": 42,
        f"{PHASE}.train": "all",
        f"{PHASE}.epochs": 20,
        f"{PHASE}.learning_rate": 0.0001,
        f"{PHASE}.optimiser": {"kind": "adam", "weight_decay": 0.0},
        f"{PHASE}.schedule": {"kind": "constant"},
    },
}
TABLE = [
    (name, key, value)
    for name, values in {"cat-breeds-original": ORIGINAL, **OTHERS}.items()
    for key, value in values.items()
]


def leaves(value: object, key: str = "") -> Iterator[str]:
    """The dotted keys of all values; a list of numbers is one value."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, each in enumerate(value):
            yield from leaves(each, f"{key}.{number}")
    else:
        yield key


@pytest.mark.parametrize(("name", "key", "value"), TABLE, ids=[f"{n} {k}" for n, k, _ in TABLE])
def test_a_recipe_has_the_systems_value(name: str, key: str, value: object) -> None:
    found: Any = load_recipe(name).model_dump(mode="json")
    found["preprocessing"].setdefault("crop", None)
    for part in key.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    assert found == value
    assert type(found) is type(value)


def test_nothing_of_the_original_is_left_open() -> None:
    recipe = load_recipe("cat-breeds-original").model_dump(mode="json")
    for key in ("name", "summary", "card"):
        del recipe[key]
    assert set(leaves(recipe)) == set(ORIGINAL)


@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("cat-breeds-original", 1),
        ("cat-breeds", 1),
        ("pets", 2),
        ("animals-10", 1),
        ("dogs-vs-cats", 1),
        ("dogs-vs-cats-cnn", 1),
        ("cats-and-dogs", 1),
    ],
)
def test_it_has_no_further_phases(name: str, phases: int) -> None:
    assert len(load_recipe(name).training.phases) == phases


@pytest.mark.parametrize("name", ["cat-breeds", "cat-breeds-original"])
def test_a_cat_breeds_head_begins_at_zero(name: str) -> None:
    options = load_recipe(name).architecture.options
    torch.manual_seed(42)
    head = bit.build(67, **options).get_submodule("head.conv")
    assert all(not parameter.any() for parameter in head.parameters())
    assert sum(parameter.numel() for parameter in head.parameters()) == 2048 * 67 + 67
