from __future__ import annotations

import re
from pathlib import Path

import pytest

from training import recipe
from training.recipe import RecipeError, load_recipe, recipe_names
from training.spec import Adam, Constant, RandomResizedCrop

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
    assert changed.build_preprocessing().size == (64, 80)
    assert changed.build_preprocessing().mean == (0.5, 0.25, 0.5)
    assert changed.architecture.options == {"units": [1, 1, 1, 2], "width": 0.5}
    assert changed.summary == "a small one"
    # The file stays as it is.
    assert load_recipe("demo").training.batch_size == 32


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("training.batch_size", "must be KEY=VALUE"),
        ("=3", "must be KEY=VALUE"),
        ("training..batch_size=3", "must be KEY=VALUE"),
        ("training.phases.1.epochs=3", "leads nowhere"),
        ("training.phases.first.epochs=3", "leads nowhere"),
        ("training.seed.low=3", "leads nowhere"),
        ("training.seed.low.bits=3", "leads nowhere"),
        ("preprocessing.mean.3=0.5", "leads nowhere"),
        ("trianing.seed=3", "trianing: unknown key; allowed: .*, training, card"),
    ],
)
def test_a_change_that_leads_nowhere_is_refused(change: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says) as refused:
        load_recipe("demo", (change,))
    assert change in str(refused.value) or "unknown key" in says


# (change of the demo's recipe, what is said behind the file's name)
REFUSED = [
    # Architecture.
    ("architecture.fil=bit", "architecture.fil = 'bit': unknown key; allowed: file, options, weig"),
    (
        "architecture.file=../evil",
        "architecture.file = '../evil': must be 'bit', 'cnn', .* or 'vgg",
    ),
    ("architecture.options=3", "architecture.options = 3: must be a table of keys"),
    ("architecture.weights=3", "architecture.weights = 3: must be text"),
    # Preprocessing.
    ("preprocessing.rezise=9", "preprocessing: unknown key 'rezise'; allowed keys: .*'resize'"),
    ("preprocessing.resize=0", "preprocessing: resize: 0 is not allowed; 1 to 4096"),
    ("preprocessing=3", "preprocessing = 3: must be a table of keys"),
    # Data.
    ("data.folds=3", "data.folds = 3: unknown key; allowed: layout, validation, test, seed"),
    ("data.layout=zoo", "data.layout = 'zoo': must be 'cat-breeds', 'pets', .* or 'cats-and-dogs'"),
    ("data.validation=0", "data.validation = 0: must be greater than 0"),
    ("data.test=lots", "data.test = 'lots': must be a number"),
    ("data.validation=0.95", "data: validation .*and test .*together must be less than 1"),
    ("data.seed=true", "data.seed = True: must be a whole number"),
    # Augmentation.
    ("augmentation.blur=3", "augmentation.blur = 3: unknown key; allowed: crop, shift, .*, mixup"),
    ("augmentation.flip=1", "augmentation.flip = 1: must be true or false"),
    ("augmentation.rotation=300", "augmentation.rotation = 300: must be less than or equal to 180"),
    ("augmentation.mixup=-1", "mixup = -1: must be greater than or equal to 0 or 'hyperrule'$"),
    ("augmentation.mixup=often", "mixup = 'often': must be a number or 'hyperrule'$"),
    (
        "augmentation.crop.kind=randon",
        r"augmentation\.crop\.kind = 'randon': must be one of 'none', 'random', 'random-resized'$",
    ),
    ("augmentation.crop={}", "augmentation.crop.kind: is missing; one of 'none', 'random'"),
    ("augmentation.crop=none", "augmentation.crop = 'none': must be a table of keys"),
    ("augmentation.crop.area=1", "augmentation.crop.area = 1: unknown key; allowed: kind$"),
    (
        'augmentation.crop={ kind = "random", resize = [512] }',
        r"augmentation\.crop\.resize = \[512\]: too few items",
    ),
    (
        'augmentation.crop={ kind = "random", resize = [1, 2, 3] }',
        r"augmentation\.crop\.resize = \[1, 2, 3\]: must have at most 2 items",
    ),
    (
        'augmentation.crop={ kind = "random", resize = [0, 2.5] }',
        r"crop\.resize\.0 = 0: must be greater than 0; .*resize\.1 = 2\.5: must be a whole number",
    ),
    (
        'augmentation.crop={ kind = "random", resize = [512, 512] }',
        "training.cache_photos needs augmentation.crop of the kind none",
    ),
    # Training.
    ("training.epoch=3", "training.epoch = 3: unknown key; allowed: batch_size, .*, phases$"),
    ("training.batch_size=2.0", "training.batch_size = 2.0: must be a whole number"),
    ("training.batch_size=", "training.batch_size = '': must be a whole number"),
    ("training.micro_batch=0", "training.micro_batch = 0: must be greater than 0"),
    ("training.precision=int8", "training.precision = 'int8': must be 'auto', .* or 'float16'"),
    ("training.label_smoothing=1", "training.label_smoothing = 1: must be less than 1"),
    ("training.phases=[]", r"training\.phases = \[\]: must have at least 1 item"),
    ("training.phases=long", "training.phases = 'long': must be a list"),
    ('training.phases=["long"]', "training.phases.0 = 'long': must be a table of keys"),
    # Phases.
    (
        "training.phases.0.epoch=3",
        "phases.0.epoch = 3: unknown key; allowed: train, epochs, .*sche",
    ),
    ("training.phases.0.epochs=0", "training.phases.0.epochs = 0: must be greater than 0"),
    ("training.phases.0.train=tail", "training.phases.0.train = 'tail': must be 'head' or 'all'"),
    ("training.phases.0.learning_rate=nan", "phases.0.learning_rate = nan: must be .*"),
    ("training.phases.0.steps=5", "training.phases.0: one of epochs and steps is needed, and only"),
    ("training.phases.0.cached_views=2", "phases.0: cached_views is for train = 'head' only"),
    ("training.phases.0.optimiser.kind=lion", "optimiser.kind = 'lion': must be one of 'sgd', 'ad"),
    (
        "training.phases.0.optimiser.momentun=0",
        "phases.0.optimiser.momentun = 0: unknown key; allo",
    ),
    ("training.phases.0.optimiser.momentum=1.5", "phases.0.optimiser.momentum = 1.5: must be less"),
    ("training.phases.0.optimiser.momentum=much", "optimiser.momentum = 'much': must be a number"),
    ("training.phases.0.optimiser.momentum=0", "phases.0.optimiser: nesterov needs a momentum"),
    (
        "training.phases.0.schedule.kind=constant",
        "schedule.warmup = 0.2: unknown key; allowed: kin",
    ),
    (
        "training.phases.0.schedule.kind=hyperrule",
        "schedule.warmup = 0.2: unknown key; allowed: ki",
    ),
    ("training.phases.0.schedule.kind=steps", "schedule.drops: is missing"),
    (
        'training.phases.0.schedule={ kind = "hyperrule" }',
        "training.phases.0: the schedule hyperrule says how long; epochs and steps must go",
    ),
    # Card, and what stands before the tables.
    ("card.sure_precision=1", "card.sure_precision = 1: must be less than 1"),
    ("card.unsure_score=luck", "card.unsure_score = 'luck': must be 'probability', .* or 'energy'"),
    ("card.limitations=none", "card.limitations = 'none': must be a list"),
    ("card.limitations=[3]", "card.limitations.0 = 3: must be text"),
    ("card.author=me", "card.author = 'me': unknown key; allowed: unsure_score, .*, licence_notes"),
    ("name=a/b", "name = 'a/b': must match pattern"),
    ("summary=2020-01-01", "summary = .*2020.*: must be text"),
]


@pytest.mark.parametrize(("change", "says"), REFUSED, ids=[change for change, _ in REFUSED])
def test_a_refusal_names_key_value_and_what_is_allowed(change: str, says: str) -> None:
    with pytest.raises(RecipeError) as refused:
        load_recipe("demo", (change,))
    source, _, problem = str(refused.value).partition(".toml: ")
    assert source.endswith("demo")
    assert re.search(says, problem), problem
    assert "\n" not in problem
    # Words of the library that checks are not those of a recipe.
    for word in ("Input", "tag", "dictionary", "Value error", "constrained", "Spec"):
        assert word not in problem
