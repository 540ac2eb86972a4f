"""A plain CNN for training from scratch, to compare pretrained networks with.

Four times a 3x3 convolution without padding, ReLU and a 2x2 max pool; then dropout and two linear
layers, the network of chapter 5 in Chollet's "Deep Learning with Python" (2017). For two classes it
has two logits, which is a sigmoid over their difference. This file is copied alone into every
archive: it depends on torch only.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def build(
    num_classes: int,
    *,
    input_size: Sequence[int] = (150, 150),
    channels: Sequence[int] = (32, 64, 128, 128),
    hidden: int = 512,
    dropout: float = 0.5,
) -> PlainCNN:
    """A randomly initialised network.

    Args:
        num_classes: length of the logits.
        input_size: (height, width) of the photos; the map is flattened, so that it is part of the
            network.
        channels: of each convolution; so many there are.
        hidden: length of the layer before the logits.
        dropout: share of the flattened map that training drops.

    Returns:
        Module from float (N, 3, *input_size) to logits (N, num_classes).

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    for key, value in (("num_classes", num_classes), ("hidden", hidden)):
        if not _is_count(value):
            raise ValueError(f"{key} is {value!r}; a whole number from 1 on is needed")
    if not isinstance(channels, Sequence) or not channels or not all(map(_is_count, channels)):
        raise ValueError(f"channels is {channels!r}; whole numbers from 1 on are needed")
    sides = input_size
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(map(_is_count, sides)):
        raise ValueError(f"input_size is {sides!r}; [height, width] is needed")
    if min(_cells(side, len(channels)) for side in sides) < 1:
        raise ValueError(f"input_size is {sides!r}; too small for {len(channels)} convolutions")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout!r}; from 0 to less than 1 is allowed")
    return PlainCNN(num_classes, (sides[0], sides[1]), channels, hidden, dropout)


def fold(model: nn.Module) -> nn.Module:
    """A copy for inference: in evaluation mode, channels last. There is no norm to fold."""
    return copy.deepcopy(model).eval().to(memory_format=torch.channels_last)


def explained_layer(model: nn.Module) -> nn.Module:
    """The layer before the last max pool: (N, 128, 15, 15) for photos of 150 x 150."""
    return model.get_submodule(f"features.relu{_convolutions(model)}")


def explained_cells(model: nn.Module) -> tuple[float, float]:
    """The pixel that the first cell of the explained layer is centred on, and the step to the next.

    A 3x3 convolution without padding moves the centre by its step, a 2x2 pool by half of it.
    """
    first, step = 1.0, 1.0
    for _ in range(_convolutions(model) - 1):
        first += step / 2 + 2 * step
        step *= 2
    return first, step


def backbone_and_head(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """(photos -> the last map, flattened, features -> logits), sharing the parameters."""
    backbone = nn.Sequential(model.get_submodule("features"), nn.Flatten())
    return backbone, model.get_submodule("classifier")


class PlainCNN(nn.Module):
    """Convolutions and two linear layers; use `build`."""

    def __init__(
        self,
        num_classes: int,
        size: tuple[int, int],
        channels: Sequence[int],
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.input_size = size
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        c_in = 3
        for number, c_out in enumerate(channels, start=1):
            layers[f"conv{number}"] = nn.Conv2d(c_in, c_out, 3)
            layers[f"relu{number}"] = nn.ReLU()
            layers[f"pool{number}"] = nn.MaxPool2d(2)
            c_in = c_out
        self.features = nn.Sequential(layers)
        cells = _cells(size[0], len(channels)) * _cells(size[1], len(channels))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(c_in * cells, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.input_size:
            raise ValueError(f"a photo of {tuple(x.shape[2:])}; input_size is {self.input_size}")
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


def _convolutions(model: nn.Module) -> int:
    return sum(isinstance(layer, nn.Conv2d) for layer in model.modules())


def _cells(side: int, convolutions: int) -> int:
    """How many cells of the last map an input's side has."""
    for _ in range(convolutions):
        side = (side - 2) // 2
    return side


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
