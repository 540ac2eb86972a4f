"""A recipe that trains in a second, with what varies: augmentation, phases, cached features."""

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

[training]
batch_size = 8
micro_batch = 4
checkpoint_minutes = 0
seed = 3

[[training.phases]]
train = "head"
epochs = 1
cached_views = 2
learning_rate = 0.05
optimiser = { kind = "adam" }
schedule = { kind = "constant" }

[[training.phases]]
train = "all"
epochs = 3
learning_rate = 0.02
optimiser = { kind = "sgd", momentum = 0.9 }
schedule = { kind = "one-cycle", warmup = 0.3 }

[card]
unsure_score = "probability"
sure_precision = 0.8
intended_use = "Tests."
limitations = []
licence_notes = []
"""
# Of each class; 12 of them are in the training part.
PHOTOS = 20


def write_tiny(folder: Path) -> str:
    """The recipe as a file; its path, for `train`."""
    path = folder / "tiny.toml"
    path.write_text(TINY)
    return str(path)
