"""A recipe that trains in seconds, with much that a resumed run could get wrong.

Mixup, augmentation, cached features, two phases; and the best of its evaluations is not one of the
head's, so that the weights tell of both.
"""

from __future__ import annotations

from pathlib import Path

TINY = """
name = "tiny"
summary = "for tests"

[architecture]
file = "bit"
options = { units = [1, 1, 1, 1], width = 0.125 }

[preprocessing]
resize = [32, 32]
interpolation = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[data]
layout = "dogs-vs-cats"
validation = 0.2
test = 0.2
seed = 1

[augmentation]
crop = { kind = "random-resized", area = 0.5 }
flip = true
mixup = 0.2

[training]
batch_size = 8
micro_batch = 4
checkpoint_minutes = 0
metric = "loss"
seed = 3

[[training.phases]]
train = "head"
epochs = 1
cached_views = 2
learning_rate = 0.0001
optimiser = { kind = "adam" }
schedule = { kind = "constant" }

[[training.phases]]
train = "all"
epochs = 3
learning_rate = 0.002
optimiser = { kind = "adam" }
schedule = { kind = "one-cycle", warmup = 0.3 }

[card]
unsure_score = "probability"
sure_precision = 0.8
intended_use = "Tests."
limitations = []
licence_notes = []
"""
# What a photo does depends on no other: group normalisation looks at each by itself. And SGD, as
# Adam makes much of little differences.
ALONE = (
    "augmentation.mixup=0.0",
    "training.phases.1.optimiser={ kind = 'sgd', momentum = 0.9 }",
    "training.phases.1.learning_rate=0.003",
)
# The other way round: batch normalisation, and dropout.
TOGETHER = ("architecture.file=mobilenet", "architecture.options={ width = 0.25 }")
# Of each class; 12 of them are in the training part.
PHOTOS = 20


def write_tiny(folder: Path) -> str:
    """The recipe as a file; its path, for `train`."""
    path = folder / "tiny.toml"
    path.write_text(TINY)
    return str(path)
