"""Inception v3 up to Mixed_6e, which Keras calls mixed7, with two linear layers behind it.

Szegedy et al. 2016, https://arxiv.org/abs/1512.00567. Parameter names up to Mixed_6e are
torchvision's, whose ImageNet file loads into them. Its weights come from Google and expect inputs
in [-1, 1]: mean and standard deviation of 0.5 (torchvision's own model takes ImageNet's mean and
deviation, and turns them into that where `transform_input` is set). This file is copied alone into
every archive: it depends on torch only.

For two classes the head has two logits. A sigmoid over their difference is the softmax, so that
nothing is lost against a single output with a sigmoid.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_LEAST_SIDE = 75  # leaves 2 x 2 cells, and is what Keras asks for


def build(
    num_classes: int,
    *,
    input_size: Sequence[int] = (150, 150),
    width: float = 1.0,
    hidden: int = 1024,
    dropout: float = 0.2,
) -> InceptionV3:
    """A randomly initialised network.

    Args:
        num_classes: length of the logits.
        input_size: (height, width) of the photos; the map is flattened, so that it is part of the
            network.
        width: factor on all channel counts, for small machines; 16 * width must be whole.
        hidden: length of the layer before the logits.
        dropout: share of it that training drops.

    Returns:
        Module from float (N, 3, *input_size) to logits (N, num_classes).

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    for key, value in (("num_classes", num_classes), ("hidden", hidden)):
        if not _is_count(value):
            raise ValueError(f"{key} is {value!r}; a whole number from 1 on is needed")
    sides = input_size
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(map(_is_count, sides)):
        raise ValueError(f"input_size is {sides!r}; [height, width] is needed")
    if min(sides) < _LEAST_SIDE:
        raise ValueError(f"input_size is {sides!r}; each side must be at least {_LEAST_SIDE}")
    if not isinstance(width, int | float) or not 16 * width >= 1 or 16 * width % 1 != 0:
        raise ValueError(f"width is {width!r}; 16 * width must be a whole number from 1 on")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout!r}; from 0 to less than 1 is allowed")
    return InceptionV3(num_classes, (sides[0], sides[1]), int(16 * width), hidden, dropout)


def fold(model: nn.Module) -> nn.Module:
    """A copy for inference: convolutions that hold the batch norms behind them.

    It is in evaluation mode and channels last. The logits agree to float32 rounding. Folding a
    folded model changes nothing.
    """
    folded = copy.deepcopy(model).eval()
    for parent in list(folded.modules()):
        for (name, conv), (norm_name, norm) in itertools.pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    return folded.to(memory_format=torch.channels_last)


def explained_layer(model: nn.Module) -> nn.Module:
    """Mixed_6e; its output is (N, 768, h, w), 7 x 7 for photos of 150 x 150."""
    return model.get_submodule("Mixed_6e")


def explained_cells(model: nn.Module) -> tuple[float, float]:
    """The pixel that the first cell of the explained layer is centred on, and the step to the next.

    The 3x3 kernels without padding move the centre by their step: 1, 2, 2 (a pool), 4, 4 (a pool)
    and 8; the others are padded by half of them.
    """
    return 21.0, 16.0


def backbone_and_head(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """(photos -> the map of Mixed_6e, flattened, features -> logits), sharing the parameters."""
    layers = [child for name, child in model.named_children() if name != "fc"]
    return nn.Sequential(*layers, nn.Flatten()), model.get_submodule("fc")


class BasicConv2d(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class InceptionA(nn.Module):
    """Filters of 1x1, 5x5 and twice 3x3 beside each other; `unit` is 16 * width channels."""

    def __init__(self, c_in: int, c_pool: int, unit: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(c_in, 4 * unit, 1)
        self.branch5x5_1 = BasicConv2d(c_in, 3 * unit, 1)
        self.branch5x5_2 = BasicConv2d(3 * unit, 4 * unit, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(c_in, 4 * unit, 1)
        self.branch3x3dbl_2 = BasicConv2d(4 * unit, 6 * unit, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(6 * unit, 6 * unit, 3, padding=1)
        self.branch_pool = BasicConv2d(c_in, c_pool, 1)
        self.c_out = 14 * unit + c_pool

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))
        wide = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), wide, double, pooled], 1)


class InceptionB(nn.Module):
    """Halves the sides, without padding."""

    def __init__(self, c_in: int, unit: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(c_in, 24 * unit, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(c_in, 4 * unit, 1)
        self.branch3x3dbl_2 = BasicConv2d(4 * unit, 6 * unit, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(6 * unit, 6 * unit, 3, stride=2)
        self.c_out = 30 * unit + c_in

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class InceptionC(nn.Module):
    """7x7 filters taken apart into 1x7 and 7x1, once and twice."""

    def __init__(self, c_in: int, c_mid: int, unit: int) -> None:
        super().__init__()
        c_branch = 12 * unit
        self.branch1x1 = BasicConv2d(c_in, c_branch, 1)
        self.branch7x7_1 = BasicConv2d(c_in, c_mid, 1)
        self.branch7x7_2 = BasicConv2d(c_mid, c_mid, (1, 7), padding=(0, 3))
        self.branch7x7_3 = BasicConv2d(c_mid, c_branch, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = BasicConv2d(c_in, c_mid, 1)
        self.branch7x7dbl_2 = BasicConv2d(c_mid, c_mid, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = BasicConv2d(c_mid, c_mid, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = BasicConv2d(c_mid, c_mid, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = BasicConv2d(c_mid, c_branch, (1, 7), padding=(0, 3))
        self.branch_pool = BasicConv2d(c_in, c_branch, 1)
        self.c_out = 4 * c_branch

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        pooled = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))
        return torch.cat([self.branch1x1(x), once, twice, pooled], 1)


class InceptionV3(nn.Module):
    """All up to Mixed_6e, then two linear layers; use `build`."""

    def __init__(
        self, num_classes: int, size: tuple[int, int], unit: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.input_size = size
        self.Conv2d_1a_3x3 = BasicConv2d(3, 2 * unit, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(2 * unit, 2 * unit, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(2 * unit, 4 * unit, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = BasicConv2d(4 * unit, 5 * unit, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(5 * unit, 12 * unit, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = InceptionA(12 * unit, 2 * unit, unit)
        self.Mixed_5c = InceptionA(self.Mixed_5b.c_out, 4 * unit, unit)
        self.Mixed_5d = InceptionA(self.Mixed_5c.c_out, 4 * unit, unit)
        self.Mixed_6a = InceptionB(self.Mixed_5d.c_out, unit)
        self.Mixed_6b = InceptionC(self.Mixed_6a.c_out, 8 * unit, unit)
        self.Mixed_6c = InceptionC(self.Mixed_6b.c_out, 10 * unit, unit)
        self.Mixed_6d = InceptionC(self.Mixed_6c.c_out, 10 * unit, unit)
        self.Mixed_6e = InceptionC(self.Mixed_6d.c_out, 12 * unit, unit)
        cells = _cells(size[0]) * _cells(size[1])
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        self.fc = nn.Sequential(
            nn.Linear(self.Mixed_6e.c_out * cells, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.input_size:
            raise ValueError(f"a photo of {tuple(x.shape[2:])}; input_size is {self.input_size}")
        for layer in self.children():
            x = layer(x.flatten(1) if layer is self.fc else x)
        return x


def _cells(side: int) -> int:
    """How many cells of Mixed_6e an input's side has."""
    for kernel, stride in ((3, 2), (3, 1), (3, 2), (3, 1), (3, 2), (3, 2)):
        side = (side - kernel) // stride + 1
    return side


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
