"""`catbreeds recipes` and `catbreeds recipes show`, as a user and as a script sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from serving import cli
from training.data.layouts import LayoutName
from training.models import ArchitectureName
from training.recipe import load_recipe, parse_recipe, recipe_names, recipe_path
from training.recipe_words import in_words
from training.spec import Recipe
from training.spec.base import Strict
from training.weights import WEIGHTS

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
    height, width = recipe.preprocessing.size
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
    assert all(len(line) <= 100 for line in shown.splitlines())
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
            (
                "BiT-HyperRule",
                "resized to 512 x 512, random crop of 480 x 480",
                "mixup from 20,000 photos on",
                "SGD at 0.003, momentum 0.9",
                "less 0.5, divided by 0.5",
                "every 1000 steps",
            ),
        ),
        (
            "cat-breeds-edge",
            (
                "the backbone frozen and run once over",
                "one cycle with",
                "batch normalisation kept as it is",
                "weight decay 0.05",
                "label smoothing 0.1",
                "at 160 x 160",
            ),
        ),
        ("cat-breeds-original", ("500 steps", "a tenth after 200, 300, 400", "42 for the split")),
        (
            "pets",
            (
                "224 x 224 pixels: the shorter side resized to 256",
                "less 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225",
            ),
        ),
        ("animals-10", ("vgg16-397923af.pth", "a cosine to 1e-05 every 2 epochs")),
        ("cats-and-dogs", ("random weights", "TrivialAugment", "the best loss")),
        ("dogs-vs-cats-cnn", ("stops after 10 without a better", "rotation up to 40")),
        ("demo", ("shift up to 4", "one cycle with 20% warm-up")),
    ],
)
def test_what_is_particular_is_said(catbreeds: Command, name: str, words: tuple[str, ...]) -> None:
    _, shown, _ = catbreeds("recipes", "show", name)
    shown = " ".join(shown.split())
    for word in words:
        assert word in shown


# Values that some key of a recipe may have; which of them, the recipe decides.
CANDIDATES: list[Any] = [
    *(0, 1, 2, 3, 8, 350, 600, 0.001, 0.25, 0.75, 2.0, True, False, [96, 96], [600, 600]),
    *("own", "head", "all", "bilinear", "bicubic", "hyperrule", "max-logit", "none"),
    *("auto", "float32", "bfloat16", "float16", "balanced-sampling", "logit-adjustment"),
    *("top1", "top5", "balanced_accuracy", "loss"),
    *(*get_args(LayoutName), *get_args(ArchitectureName), *WEIGHTS),
    # Crops, optimisers and schedules.
    {"kind": "none"},
    {"kind": "random", "resize": [600, 600]},
    {"kind": "random-resized", "area": 0.7},
    {"kind": "sgd"},
    {"kind": "adam"},
    {"kind": "constant"},
    {"kind": "one-cycle", "warmup": 0.3},
    {"kind": "cosine"},
    {"kind": "steps", "warmup": 3, "drops": [5]},
]
Path_ = tuple[str | int, ...]


def places(value: Any, path: Path_ = (), key: str = "") -> Iterator[tuple[Path_, str]]:  # noqa: ANN401
    """All places of a recipe, each with its key, such as PhaseSpec.epochs."""
    if isinstance(value, Strict):
        for name in type(value).model_fields:
            if name not in ("card", "summary", "kind"):
                own = f"{type(value).__name__}.{name}"
                yield from places(getattr(value, name), (*path, name), own)
        if path and "kind" in type(value).model_fields:
            yield path, key
    elif isinstance(value, tuple | list):
        for number, each in enumerate(value):
            yield from places(each, (*path, number), key)
        yield path, key
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from places(each, (*path, name), f"{key}.{name}")
    elif path == ("preprocessing",):
        yield from places(value.to_dict(), path, key)
    else:
        yield path, key


def changed(recipe: Recipe, path: Path_) -> Iterator[Recipe]:
    """Valid recipes that differ from it in one place."""
    content = recipe.model_dump(mode="json")
    *above, last = path
    table: Any = content
    for key in above:
        table = table[key]
    for candidate in CANDIDATES:
        table[last] = candidate
        with suppress(ValidationError):
            found = Recipe.model_validate(content)
            if found != recipe:
                yield found


def test_whatever_is_changed_changes_the_words() -> None:
    seen: set[str] = set()
    for name in recipe_names():
        recipe = load_recipe(name)
        words = in_words(recipe)
        for path, key in places(recipe):
            for other in changed(recipe, path):
                assert in_words(other) != words, (name, path)
                seen.add(key)
    every = {f"{each.__name__}.{name}" for each in subtables(Recipe) for name in each.model_fields}
    every -= {key for key in every if key.startswith("CardSpec.") or key.endswith(".kind")}
    # What holds others is told by these.
    every -= {"Recipe.summary", "Recipe.card", "Recipe.architecture", "Recipe.preprocessing"}
    every -= {"Recipe.data", "Recipe.augmentation", "Recipe.training", "TrainingSpec.phases"}
    assert every - seen == set()
    details = ("resize", "crop", "interpolation", "mean", "std")
    assert {f"Recipe.preprocessing.{name}" for name in details} <= seen


def subtables(annotation: Any) -> Iterator[type[Strict]]:  # noqa: ANN401
    for part in get_args(annotation):
        yield from subtables(part)
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        yield annotation
        for field in annotation.model_fields.values():
            yield from subtables(field.annotation)


def test_the_words_come_without_torch() -> None:
    code = (
        "import sys; from serving import cli\n"
        "for words in (['recipes'], ['recipes', 'show', 'pets']):\n"
        "    sys.argv = ['catbreeds', *words]\n"
        "    try: cli.main()\n"
        "    except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "resnet34" in shown.stdout
    assert shown.stdout.endswith("False\n")


def test_what_is_wrong_is_one_line(catbreeds: Command, tmp_path: Path) -> None:
    code, shown, errors = catbreeds("recipes", "show", "dmeo")
    assert (code, shown) == (1, "")
    assert "'dmeo': must be one of animals-10" in errors
    (tmp_path / "own.toml").write_text("name = 3\n")
    code, shown, errors = catbreeds("recipes", "show", str(tmp_path / "own.toml"))
    assert (code, shown) == (1, "")
    assert "name = 3: must be text" in errors
    assert len(errors.splitlines()) == 1
    own = recipe_path("demo").read_text().replace("width = 0.25", "widht = 0.25")
    (tmp_path / "own.toml").write_text(own)
    code, shown, errors = catbreeds("recipes", "show", str(tmp_path / "own.toml"))
    assert (code, shown) == (1, "")
    assert "widht = 0.25: unknown option of bit; allowed: units, width" in errors
