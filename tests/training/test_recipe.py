from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from training import recipe
from training.recipe import RecipeError, load_recipe, parse_recipe, recipe_names
from training.spec import Adam, Constant, RandomResizedCrop
from training.weights import WEIGHTS

DEMO = Path(recipe.__file__).with_name("recipes") / "demo.toml"


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads(name: str) -> None:
    loaded = load_recipe(name)
    assert loaded.summary
    assert loaded.card.limitations


def test_an_unknown_recipe_is_refused_with_what_there_is() -> None:
    with pytest.raises(RecipeError, match=r"'dmeo'.*cat-breeds.*demo"):
        load_recipe("dmeo")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe(str(tmp_path / "none.toml"))


def test_ones_own_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(DEMO.read_text().replace("epochs = 20", "epochs = 3"))
    assert load_recipe(str(path)).training.phases[0].epochs == 3


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[card]", "[card", "own.toml"),
        ("seed = 42", "", "data.seed: is missing"),
        ("[card]", "[kard]", "card: is missing; kard: unknown key; allowed: name, summary"),
        ("seed = 42", "seed = 4\nseed = 5", "own.toml.*overwrite"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(
    tmp_path: Path, before: str, after: str, says: str
) -> None:
    assert before in DEMO.read_text()
    (tmp_path / "own.toml").write_text(DEMO.read_text().replace(before, after, 1))
    with pytest.raises(RecipeError, match=says):
        load_recipe(str(tmp_path / "own.toml"))


def test_changes_are_numbers_words_lists_and_tables() -> None:
    changed = load_recipe(
        "demo",
        (
            "training.batch_size=8",
            "training.precision = bfloat16",
            'training.metric="loss"',
            "training.cache_photos=false",
            "training.phases.0.epochs=2",
            "training.phases.0.learning_rate=1e-3",
            'training.phases.0.optimiser={ kind = "adam" }',
            "training.phases.0.schedule={ kind = 'constant' }",
            'augmentation.crop={ kind = "random-resized", area = 0.5 }',
            "preprocessing.mean.1=0.25",
            "preprocessing.resize=[64, 80]",
            "architecture.options.width=0.5",
            "architecture.options.units.3=2",
            "summary=a small one",
        ),
    )
    phase = changed.training.phases[0]
    assert (changed.training.batch_size, phase.epochs, phase.learning_rate) == (8, 2, 1e-3)
    assert (changed.training.precision, changed.training.metric) == ("bfloat16", "loss")
    assert changed.training.cache_photos is False
    assert (phase.optimiser, phase.schedule) == (Adam(kind="adam"), Constant(kind="constant"))
    assert changed.augmentation.crop == RandomResizedCrop(kind="random-resized", area=0.5)
    assert changed.preprocessing.size == (64, 80)
    assert changed.preprocessing.mean == (0.5, 0.25, 0.5)
    assert changed.architecture.options == {"units": (1, 1, 1, 2), "width": 0.5}
    assert changed.summary == "a small one"
    # The file stays as it is.
    assert load_recipe("demo").training.batch_size == 32


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("training.batch_size", "must be KEY=VALUE"),
        ("=3", "must be KEY=VALUE"),
        ("training..batch_size=3", "must be KEY=VALUE"),
        ("training.phases.1.epochs=3", "leads nowhere .* a place from 0 to 0 is due"),
        ("training.phases.first.epochs=3", "leads nowhere"),
        ("training.seed.low=3", "leads nowhere"),
        ("training.seed.low.bits=3", "leads nowhere"),
        ("preprocessing.mean.3=0.5", "leads nowhere"),
        ("training.phases.-1.epochs=3", "leads nowhere"),
        ("training.phases.+0.epochs=3", "leads nowhere"),
        ("preprocessing.mean.-1=0.5", "leads nowhere"),
        ("trianing.seed=3", "trianing: unknown key; allowed: .*, training, card"),
    ],
)
def test_a_change_that_leads_nowhere_is_refused(change: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says) as refused:
        load_recipe("demo", (change,))
    assert change in str(refused.value) or "unknown key" in says


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("training.batch_size=8\nfoo=3", "more than one value; one is allowed"),
        ("training.batch_size=8\n[card]", "more than one value; one is allowed"),
        (f"training={'[' * 3000}", "nested too deeply"),
        (f"training={'[' * 3000}{']' * 3000}", "nested too deeply"),
        (f"architecture.options.units={'[' * 50}{']' * 50}", "nested too deeply"),
        (f"training.seed={'9' * 5000}", "too many digits; whole numbers up to 9223372036854775807"),
        (f"training.seed=0x{'f' * 5000}", "training.seed: too large; whole numbers up to 92233720"),
        (f"preprocessing.mean.0={'9' * 400}", "preprocessing.mean.0: too large; whole numbers up"),
        (f"training.seed.{'a' * 5000}=3", "leads nowhere"),
        ("foo\nbar=3", r"'foo\\nbar' = 3: unknown key"),
        ("summary=\udcff", r"summary = '\\udcff': must be Unicode text"),
    ],
    ids=lambda words: words[:40],
)
def test_what_nobody_can_mean_is_refused_in_a_line(change: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says) as refused:
        load_recipe("demo", (change,))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_value_may_have_several_lines_where_toml_has_them() -> None:
    changed = load_recipe("demo", ("preprocessing.resize=[\n64,\n80]",))
    assert changed.preprocessing.resize == (64, 80)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"name = {'[' * 3000}", "lists or tables are nested too deeply"),
        (f"name = {'9' * 5000}", "too many digits"),
        ("name = '\udcff'", "codec can't decode"),
    ],
    ids=["brackets", "digits", "bytes"],
)
def test_a_file_that_nobody_can_mean_is_refused_in_a_line(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "own.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RecipeError, match=rf"own\.toml: .*{says}"):
        load_recipe(str(tmp_path / "own.toml"))


def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(DEMO.read_text(), encoding="utf-8-sig")
    assert load_recipe(str(tmp_path / "own.toml")) == load_recipe("demo")


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_outlives_json(name: str) -> None:
    loaded = load_recipe(name)
    assert parse_recipe(json.loads(loaded.model_dump_json()), name) == loaded
    assert parse_recipe(loaded.model_dump(mode="json"), name) == loaded
    # A key that the file leaves out is no null.
    assert "null" not in json.dumps(loaded.model_dump(mode="json")["preprocessing"])


def test_a_recipe_cannot_be_changed() -> None:
    loaded = load_recipe("demo")
    with pytest.raises(TypeError):
        loaded.architecture.options["width"] = 1.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        loaded.architecture.options["units"].append(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.preprocessing.crop = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        loaded.training.seed = 3


def test_every_file_of_weights_belongs_to_a_network() -> None:
    assert all(each.architecture for each in WEIGHTS.values())


def test_mixup_needs_two_photos_to_blend() -> None:
    with pytest.raises(RecipeError, match=r"augmentation\.mixup = 'hyperrule': must be 0\.0 with"):
        load_recipe("cat-breeds", ("training.micro_batch=1",))
    changes = ("training.micro_batch=1", "augmentation.mixup=0.0")
    assert load_recipe("cat-breeds", changes).training.micro_batch == 1
