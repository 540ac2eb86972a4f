"""`catbreeds recipes` and `catbreeds recipes show`, as a user and as a script sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import cli
from training.recipe import load_recipe, parse_recipe, recipe_names

# Words -> (exit code, standard output, standard error)
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def catbreeds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["catbreeds", *words])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        return exit_.value.code, output.out, output.err

    return run


def test_all_recipes_are_listed_with_a_line_each(catbreeds: Command) -> None:
    code, shown, errors = catbreeds("recipes")
    assert (code, errors) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert list(lines) == recipe_names()
    assert "BiT-M-R50x1" in lines["cat-breeds"]
    code, shown, _ = catbreeds("recipes", "--json")
    assert code == 0
    assert json.loads(shown) == lines


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_told_in_words(catbreeds: Command, name: str) -> None:
    code, shown, errors = catbreeds("recipes", "show", name)
    assert (code, errors) == (0, "")
    recipe = load_recipe(name)
    height, width = recipe.build_preprocessing().size
    assert shown.startswith(recipe.summary)
    for words in (
        f"served as {recipe.name}",
        recipe.architecture.file,
        f"{width} x {height} pixels",
        f"layout {recipe.data.layout}",
        f"{recipe.training.batch_size} photos",
    ):
        assert words in shown
    assert shown.count("\nphase ") == len(recipe.training.phases)
    # No value of the code shows through.
    for word in ("None", "kind=", "{", "<"):
        assert word not in shown


@pytest.mark.parametrize("name", recipe_names())
def test_a_script_gets_all_of_it(catbreeds: Command, name: str) -> None:
    code, shown, _ = catbreeds("recipes", "show", name, "--json")
    assert code == 0
    assert parse_recipe(json.loads(shown), name) == load_recipe(name)


def test_its_file_makes_a_recipe_of_ones_own(catbreeds: Command, tmp_path: Path) -> None:
    code, shown, _ = catbreeds("recipes", "show", "cat-breeds-edge", "--toml")
    assert code == 0
    own = tmp_path / "birds.toml"
    own.write_text(
        shown.replace('name = "cat-breeds"', 'name = "birds"').replace(
            'layout = "cat-breeds"', 'layout = "folders"'
        )
    )
    recipe = load_recipe(str(own))
    assert (recipe.name, recipe.data.layout) == ("birds", "folders")
    assert recipe.training == load_recipe("cat-breeds-edge").training
    code, _, errors = catbreeds("recipes", "show", "demo", "--toml", "--json")
    assert code == 2
    assert "only one of them" in errors


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "cat-breeds",
            ("BiT-HyperRule", "random crop of 512 x 512", "mixup from 20,000 photos on"),
        ),
        ("cat-breeds-edge", ("the backbone frozen and run once over", "one cycle with")),
        ("cat-breeds-original", ("500 steps", "a tenth after 200, 300, 400")),
        ("animals-10", ("vgg16-397923af.pth", "a cosine to 1e-05 every 2 epochs")),
        ("cats-and-dogs", ("random weights", "TrivialAugment", "the best loss")),
        ("dogs-vs-cats-cnn", ("stops after 10 without a better", "rotation up to 40")),
        ("demo", ("shift up to 4", "one cycle with 20% warm-up")),
    ],
)
def test_what_is_particular_is_said(catbreeds: Command, name: str, words: tuple[str, ...]) -> None:
    _, shown, _ = catbreeds("recipes", "show", name)
    for word in words:
        assert word in shown


def test_what_is_wrong_is_one_line(catbreeds: Command, tmp_path: Path) -> None:
    code, shown, errors = catbreeds("recipes", "show", "dmeo")
    assert (code, shown) == (1, "")
    assert "'dmeo': must be one of animals-10" in errors
    (tmp_path / "own.toml").write_text("name = 3\n")
    code, shown, errors = catbreeds("recipes", "show", str(tmp_path / "own.toml"))
    assert (code, shown) == (1, "")
    assert "name = 3: must be text" in errors
    assert len(errors.splitlines()) == 1
