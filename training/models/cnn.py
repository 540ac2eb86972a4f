"""A small CNN for training from scratch: three blocks, the third of them applied four times.

A block is a padded 3x3 convolution, ReLU, batch norm and a 2x2 max pool, 3 -> 64 -> 512 -> 512
channels. The third one's weights serve four times, so that 224 x 224 pixels become 3 x 3 cells of
512 channels with 2,668,418 parameters for two classes. This file is copied alone into every
archive: it depends on torch only.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_REPEATS = 4
_LEAST_SIDE = 2 ** (2 + _REPEATS)


def build(num_classes: int, *, input_size: Sequence[int] = (224, 224), width: float = 1.0) -> CNN:
    """A randomly initialised network.

    Args:
        num_classes: length of the logits.
        input_size: (height, width) of the photos; the map is flattened, so that it is part of the
            network.
        width: factor on all channel counts, for small machines; 64 * width must be whole.

    Returns:
        Module from float (N, 3, *input_size) to logits (N, num_classes).

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    if not _is_count(num_classes):
        raise ValueError(f"num_classes is {num_classes!r}; a whole number from 1 on is needed")
    sides = input_size
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(map(_is_count, sides)):
        raise ValueError(f"input_size is {sides!r}; [height, width] is needed")
    if min(sides) < _LEAST_SIDE:
        raise ValueError(f"input_size is {sides!r}; each side must be at least {_LEAST_SIDE}")
    if not isinstance(width, int | float) or not 64 * width >= 1 or 64 * width % 1 != 0:
        raise ValueError(f"width is {width!r}; 64 * width must be a whole number from 1 on")
    return CNN(num_classes, (sides[0], sides[1]), int(64 * width))


def fold(model: nn.Module) -> nn.Module:
    """A copy for inference: in evaluation mode, channels last.

    The norms stay. Each follows a ReLU, and what could take it up, the next convolution, is padded
    with zeros that it would have to shift as well.
    """
    return copy.deepcopy(model).eval().to(memory_format=torch.channels_last)


def explained_layer(model: nn.Module) -> nn.Module:
    """A layer that passes on what goes into the last max pool, (N, channels, H/32, W/32).

    Not the third block itself: it runs four times.
    """
    return model.get_submodule("features.last_map")


def explained_cells(model: nn.Module) -> tuple[float, float]:
    """The pixel that the first cell of the explained layer is centred on, and the step to the next.

    Each of the five 2x2 pools before it moves the centre by half of its own step: 1/2, 1, 2, 4, 8.
    """
    return 15.5, 32.0


def backbone_and_head(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """(photos -> the last map, flattened, features -> logits), sharing the parameters."""
    return model.get_submodule("features"), model.get_submodule("classifier")


class Features(nn.Module):
    """From photos to the flattened last map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block1 = _block(3, channels)
        self.block2 = _block(channels, 8 * channels)
        self.block3 = _block(8 * channels, 8 * channels)
        self.pool = nn.MaxPool2d(2)
        self.last_map = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.block2(self.pool(self.block1(x))))
        for _ in range(_REPEATS - 1):
            x = self.pool(self.block3(x))
        x = self.pool(self.last_map(self.block3(x)))
        return x.flatten(1)


class CNN(nn.Module):
    """Features and one linear layer; use `build`."""

    def __init__(self, num_classes: int, size: tuple[int, int], channels: int) -> None:
        super().__init__()
        self.input_size = size
        self.features = Features(channels)
        cells = (size[0] // _LEAST_SIDE) * (size[1] // _LEAST_SIDE)
        self.classifier = nn.Linear(8 * channels * cells, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.input_size:
            raise ValueError(f"a photo of {tuple(x.shape[2:])}; input_size is {self.input_size}")
        logits: Tensor = self.classifier(self.features(x))
        return logits


def _block(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(c_out))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
