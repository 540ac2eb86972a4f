from __future__ import annotations

import re

import pytest

from training.recipe import RecipeError, load_recipe

STEPS = "training.phases.0.schedule={ kind = 'steps', warmup = %s, drops = %s }"


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        # Weights of another network.
        (
            "dogs-vs-cats",
            ("architecture.weights=vgg16-397923af.pth",),
            r"weights = 'vgg16-397923af\.pth': must be none or inception_v3_google-0cc3c7bd\.pth, "
            "as the network is inception$",
        ),
        ("pets", ("architecture.file=bit",), "must be none or BiT-M-R50x1.npz or BiT-M-R50x3.npz"),
        ("demo", ("architecture.weights=own.pth",), r"architecture\.weights = 'own\.pth': must be"),
        ("cats-and-dogs", ("architecture.weights=x",), "must be none, as the network is cnn"),
        (
            "demo",
            ("architecture.options.width=nan",),
            "options: nan: .* finite numbers are allowed",
        ),
        ("demo", ("architecture.options.x=2020-01-01",), "options: .*2020.*: text, .* are allowed"),
        # Schedules.
        (
            "cat-breeds-original",
            ("training.phases.0.steps=400",),
            r"phases\.0: schedule\.drops: 400 is too late for steps = 400; at most 399",
        ),
        (
            "cat-breeds-original",
            (STEPS % (500, []),),
            r"schedule\.warmup: 500 is too late for steps = 500; at most 499",
        ),
        (
            "cat-breeds-original",
            (STEPS % (201, [200, 300]),),
            "schedule: warmup = 201: at most the first of drops, 200, is allowed",
        ),
        (
            "cat-breeds-original",
            (STEPS % (100, [300, 200]),),
            r"schedule: drops = \[300, 200\]: must rise",
        ),
        (
            "animals-10",
            ("training.phases.0.schedule.floor=0.0011",),
            r"phases\.0: schedule\.floor = 0\.0011: at most the learning_rate, 0\.001, is allowed",
        ),
        # What a frozen backbone makes no use of.
        (
            "pets",
            ("training.phases.0.freeze_norm=true",),
            r"training\.phases\.0: freeze_norm is for train = 'all' only",
        ),
        (
            "pets",
            ("training.phases.0.backbone_factor=0.1",),
            r"training\.phases\.0: backbone_factor is for train = 'all' only",
        ),
        # Sizes.
        ("demo", ("augmentation.shift=97",), r"augmentation\.shift = 97: at most 96, the shorter"),
        (
            "cat-breeds-edge",
            ("augmentation.shift=161",),
            r"augmentation\.shift = 161: at most 160, the shorter",
        ),
        ("cat-breeds-edge", ("augmentation.crop.size=[4097, 9]",), r"size\.0 = 4097: .* to 4096"),
        ("cat-breeds", ("augmentation.crop.resize=[512, 99999]",), r"resize\.1 = 99999: .* 4096"),
        ("demo", ("preprocessing.std=[1e-320, 1, 1]",), r"preprocessing: std: \(1e-320, 1, 1\) is"),
        ("demo", ("name=token",), "name 'token': must not begin with token"),
    ],
)
def test_what_can_have_no_effect_or_no_good_one_is_refused(
    name: str, changes: tuple[str, ...], says: str
) -> None:
    with pytest.raises(RecipeError, match=says):
        load_recipe(name, changes)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("demo", "augmentation.shift=96"),
        ("cat-breeds-original", "training.phases.0.steps=401"),
        ("cat-breeds-original", STEPS % (200, [200])),
        ("cat-breeds-original", STEPS % (0, [])),
        ("animals-10", "training.phases.0.schedule.floor=0.001"),
        ("pets", "training.phases.0.backbone_factor=1.0"),
        ("cat-breeds", "augmentation.crop.resize=[4096, 480]"),
        ("dogs-vs-cats", "architecture.weights=none"),
        ("demo", "architecture.weights=BiT-M-R101x3.npz"),
        ("demo", "training.seed=9223372036854775807"),
    ],
)
def test_the_last_value_before_those_is_taken(name: str, change: str) -> None:
    load_recipe(name, (change,))


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
    (
        "data.layout=zoo",
        "data.layout = 'zoo': must be 'folders', 'cat-breeds', .* or 'cats-and-dogs'",
    ),
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
