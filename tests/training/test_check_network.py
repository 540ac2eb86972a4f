from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.small_sets import write_small_set
from training.check_network import check_network
from training.recipe import RecipeError, load_recipe, recipe_names
from training.train import train


@pytest.mark.parametrize("name", recipe_names())
def test_the_recipes_networks_take_their_photos(name: str) -> None:
    check_network(load_recipe(name))


REFUSED = [
    (
        "demo",
        "architecture.options.widht=1",
        "widht = 1: unknown option of bit; allowed: units, wid",
    ),
    ("demo", "architecture.options={ width = 1 }", "options.units: is missing; bit needs it"),
    ("demo", "architecture.options.width=0.3", "architecture.options: width is 0.3; 64 .* must be"),
    ("demo", "architecture.options.units=many", "architecture.options: units is 'many'; four"),
    ("pets", "architecture.options.layers=[3, 4]", r"layers is \[3, 4\]; four whole numbers"),
    ("pets", "architecture.options.num_classes=3", "num_classes = 3: unknown option of resnet"),
    ("cat-breeds-edge", "architecture.options.dropout=2", "dropout is 2; from 0 to less than 1"),
    (
        "dogs-vs-cats",
        "preprocessing.resize=[160, 150]",
        r"input_size = \[150, 150\]: must be \[160",
    ),
    ("dogs-vs-cats-cnn", "preprocessing.resize=[99, 99]", r"= \[150, 150\]: must be \[99, 99\]"),
    (
        "dogs-vs-cats-cnn",
        "architecture.options.input_size=[8, 8]",
        "input_size is .* too small for",
    ),
    # The default of its `build`, which the recipe does not name.
    ("cats-and-dogs", "preprocessing.resize=[150, 150]", r"= \[224, 224\]: must be \[150, 150\]"),
    (
        "animals-10",
        "preprocessing.crop=16",
        "^preprocessing makes photos of 16 x 16 pixels .*, which vgg cannot take: .*too small",
    ),
    # The size to train at, where it is another one.
    (
        "animals-10",
        "augmentation.crop.size=[16, 224]",
        r"^augmentation\.crop\.size makes photos of 16 x 224 pixels .*, which vgg cannot take: ",
    ),
    (
        "dogs-vs-cats",
        "augmentation.crop={ kind = 'random-resized', area = 0.5, size = [96, 120] }",
        r"^augmentation\.crop\.size = \[96, 120\]: must be \[150, 150\], the only size that in",
    ),
    (
        "cats-and-dogs",
        "augmentation.crop={ kind = 'random-resized', area = 0.5, size = [192, 224] }",
        r"^augmentation\.crop\.size = \[192, 224\]: must be \[224, 224\], the only size that cnn",
    ),
    ("demo", "architecture.options.width=true", r"options\.width = True: .*true and false are not"),
    ("cat-breeds-edge", "architecture.options.dropout=false", r"options\.dropout = False: .*not"),
    # torch adds lines of its own to this one.
    ("demo", "architecture.options.width=1e300", r"^architecture\.options: [^\n]*$"),
]


@pytest.mark.parametrize(
    ("recipe", "change", "says"), REFUSED, ids=[f"{name} {change}" for name, change, _ in REFUSED]
)
def test_what_the_network_cannot_do_is_refused_by_name(recipe: str, change: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        check_network(load_recipe(recipe, (change,)))


@pytest.mark.parametrize(
    ("recipe", "change"),
    [
        ("cat-breeds-edge", "augmentation.crop.size=[96, 128]"),
        ("dogs-vs-cats", "augmentation.crop={ kind = 'random-resized', area = 0.5 }"),
        (
            "dogs-vs-cats",
            "augmentation.crop={ kind = 'random-resized', area = 0.5, size = [150, 150] }",
        ),
    ],
)
def test_another_size_to_train_at_is_taken_where_the_network_takes_it(
    recipe: str, change: str
) -> None:
    check_network(load_recipe(recipe, (change,)))


def test_it_is_refused_before_any_photo_is_read(tmp_path: Path) -> None:
    write_small_set("dogs-vs-cats", tmp_path / "data", 3)
    for folder in (tmp_path / "data", tmp_path / "none"):
        with pytest.raises(RecipeError, match="input_size"):
            train(
                "dogs-vs-cats-cnn",
                folder,
                tmp_path / "run",
                changes=("preprocessing.resize=[96, 96]",),
                weights="none",
                tracker="none",
            )
    assert not (tmp_path / "run").exists()
