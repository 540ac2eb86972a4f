from __future__ import annotations

import re
from pathlib import Path

import pytest

from training import recipe
from training.recipe import RecipeError, load_recipe, recipe_names

DEMO = Path(recipe.__file__).with_name("recipes") / "demo.toml"


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads(name: str) -> None:
    assert load_recipe(name).name


def test_an_unknown_recipe_is_refused_with_what_there_is() -> None:
    with pytest.raises(RecipeError, match=r"'dmeo'.*demo"):
        load_recipe("dmeo")


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("epochs = ", "epoch = 3\nepochs = ", "training.epoch = 3: Extra inputs"),
        ("momentum = 0.9", 'momentum = "much"', "training.momentum = 'much'.*valid number"),
        ("momentum = 0.9", "momentum = 1.5", "training.momentum = 1.5.*less than 1"),
        ("seed = 42", "", "seed.*required"),
        ('file = "bit"', 'file = "../evil"', "architecture.file = '../evil'.*'bit'"),
        ("resize = [96, 96]", "resize = 0", "resize: 0 is not allowed"),
        ("[card]", "[card", "demo.toml"),
    ],
)
def test_a_bad_value_is_refused_with_key_value_and_what_is_allowed(
    tmp_path: Path, before: str, after: str, named: str
) -> None:
    text = DEMO.read_text()
    assert before in text
    (tmp_path / "demo.toml").write_text(text.replace(before, after, 1))
    with pytest.raises(RecipeError, match=re.compile(named, re.DOTALL)):
        load_recipe(str(tmp_path / "demo.toml"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe(str(tmp_path / "none.toml"))
