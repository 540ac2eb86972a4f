"""Big Transfer: ResNetV2 with group normalisation and weight standardisation.

Kolesnikov et al. 2020, https://arxiv.org/abs/1912.11370. Parameter names are those of the
`bit_pytorch` state dicts of https://github.com/google-research/big_transfer, so that its
checkpoints load with `load_state_dict(strict=True)`. This file is copied alone into every
archive: it depends on torch only.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Name -> keyword arguments of `build`. A depth is 3 convolutions a unit, the root and the head.
# The first six are published; the narrow ones are for training from scratch on a few CPU cores.
MEMBERS: dict[str, dict[str, Any]] = {
    "R50x1": {"units": [3, 4, 6, 3], "width": 1},
    "R50x3": {"units": [3, 4, 6, 3], "width": 3},
    "R101x1": {"units": [3, 4, 23, 3], "width": 1},
    "R101x3": {"units": [3, 4, 23, 3], "width": 3},
    "R152x2": {"units": [3, 8, 36, 3], "width": 2},
    "R152x4": {"units": [3, 8, 36, 3], "width": 4},
    "R26x0.5": {"units": [2, 2, 2, 2], "width": 0.5},
    "R14x0.5": {"units": [1, 1, 1, 1], "width": 0.5},
    "R14x0.25": {"units": [1, 1, 1, 1], "width": 0.25},
}


def build(num_classes: int, *, units: Sequence[int], width: float) -> ResNetV2:
    """A randomly initialised member of the family; its head is zero, as for transfer.

    Args:
        num_classes: length of the logits.
        units: bottleneck units in each of the four blocks, e.g. `[3, 4, 6, 3]` for a ResNet-50.
        width: factor on all channel counts; 64 * width must be an even whole number.

    Returns:
        Module from float (N, 3, H, W), pixels in [-1, 1], to logits (N, num_classes).

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    if not _is_count(num_classes):
        raise ValueError(f"num_classes is {num_classes!r}; a whole number from 1 on is needed")
    if not isinstance(units, Sequence) or len(units) != 4 or not all(map(_is_count, units)):
        raise ValueError(f"units is {units!r}; four whole numbers from 1 on are needed")
    if not isinstance(width, int | float) or not 64 * width >= 2 or 64 * width % 2 != 0:
        raise ValueError(f"width is {width!r}; 64 * width must be an even whole number from 2 on")
    return ResNetV2(num_classes, units, int(64 * width))


def fold(model: nn.Module) -> nn.Module:
    """A copy for inference: plain convolutions that hold the standardised weights.

    Standardisation is constant while the weights are, so doing it once saves it in each forward
    pass. Names and shapes stay. The copy is in evaluation mode and its weights are laid out
    channels last, which makes the activations channels last whatever the input is. The logits
    agree to float32 rounding. Folding a folded model changes nothing.
    """
    folded = copy.deepcopy(model).eval()
    for parent in list(folded.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, StdConv2d):
                setattr(parent, name, _plain(child))
    return folded.to(memory_format=torch.channels_last)


def explained_layer(model: nn.Module) -> nn.Module:
    """The layer whose output (N, channels, H/32, W/32) goes into the average pool."""
    return model.get_submodule("head.relu")


def explained_cells(model: nn.Module) -> tuple[float, float]:
    """The pixel that the first cell of the explained layer is centred on, and the step to the next.

    Both axes have the same. Cell i is centred on pixel first + i * step, counted from 0. Kernels
    are odd and padded by half of them, the root's pool too, so that no layer moves the centre from
    pixel 0.
    """
    return 0.0, 32.0


def backbone_and_head(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The model in two parts, which share its parameters.

    Returns:
        Backbone, photos -> pooled features (N, channels, 1, 1), and head, features -> logits, whose
        parameters are just those that a checkpoint of other classes does not have.
        head(backbone(x)) equals model(x). What is random while training is in the head.
    """
    root, body = (model.get_submodule(name) for name in ("root", "body"))
    pooled = [model.get_submodule(f"head.{name}") for name in ("gn", "relu", "avg")]
    head = nn.Sequential(model.get_submodule("head.conv"), nn.Flatten())
    return nn.Sequential(root, body, *pooled), head


class StdConv2d(nn.Conv2d):
    """Convolution whose every output filter is standardised to mean 0 and variance 1 before use.

    Qiao et al. 2019, https://arxiv.org/abs/1903.10520.
    """

    def standardised_weight(self) -> Tensor:
        """(w - mean) / sqrt(variance + 1e-10) a filter, with the biased variance."""
        # That is layer normalisation of each filter; its kernel takes a tenth of the time of
        # torch.var_mean over three axes, which would cost more than the convolutions on a CPU.
        flat = self.weight.flatten(1)
        return F.layer_norm(flat, flat.shape[1:], eps=1e-10).view_as(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.standardised_weight(), None, self.stride, self.padding)


class Unit(nn.Module):
    """Pre-activation bottleneck (He et al. 2016, https://arxiv.org/abs/1603.05027).

    Subtly not the original: the stride sits on the 3x3 convolution, not on the first 1x1.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        c_mid = c_out // 4
        self.gn1 = _group_norm(c_in)
        self.conv1 = StdConv2d(c_in, c_mid, 1, bias=False)
        self.gn2 = _group_norm(c_mid)
        self.conv2 = StdConv2d(c_mid, c_mid, 3, stride=stride, padding=1, bias=False)
        self.gn3 = _group_norm(c_mid)
        self.conv3 = StdConv2d(c_mid, c_out, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: StdConv2d | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = StdConv2d(c_in, c_out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu(self.gn1(x))
        # The projection branches off after the activation, the identity before it.
        shortcut = x if self.downsample is None else self.downsample(active)
        y: Tensor = self.conv1(active)
        y = self.conv2(self.relu(self.gn2(y)))
        y = self.conv3(self.relu(self.gn3(y)))
        return y + shortcut


class ResNetV2(nn.Module):
    """Root, four blocks, head; use `build`."""

    def __init__(self, num_classes: int, units: Sequence[int], channels: int) -> None:
        super().__init__()
        root = StdConv2d(3, channels, 7, stride=2, padding=3, bias=False)
        # Subtly not MaxPool2d(3, 2, padding=1), which pads with minus infinity: here a border
        # of zeros takes part in the maximum.
        pad, pool = nn.ConstantPad2d(1, 0.0), nn.MaxPool2d(3, stride=2)
        self.root = _named(conv=root, pad=pad, pool=pool)
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        c_in = channels
        for index, count in enumerate(units):
            c_out = 4 * channels * 2**index
            block: OrderedDict[str, nn.Module] = OrderedDict()
            for number in range(1, count + 1):
                stride = 2 if index > 0 and number == 1 else 1
                block[f"unit{number:02d}"] = Unit(c_in, c_out, stride)
                c_in = c_out
            blocks[f"block{index + 1}"] = nn.Sequential(block)
        self.body = nn.Sequential(blocks)
        # A 1x1 convolution as the linear layer, and not standardised: so are the checkpoints.
        head = nn.Conv2d(c_in, num_classes, 1)
        nn.init.zeros_(head.weight)
        assert head.bias is not None  # noqa: S101  (for the type checker)
        nn.init.zeros_(head.bias)
        # Not in place: the explanations hook this layer, and a full backward hook forbids it.
        self.head = _named(
            gn=_group_norm(c_in), relu=nn.ReLU(), avg=nn.AdaptiveAvgPool2d(1), conv=head
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(self.root(x))).flatten(1)
        return logits


def _group_norm(channels: int) -> nn.GroupNorm:
    """32 groups wherever each has at least 2 channels, as in all published members.

    Narrower layers get the largest power of two that leaves 2 channels a group. With 32 groups
    they would become instance normalisation, which takes each channel's mean away: just what
    the average pool of the head reads.
    """
    return nn.GroupNorm(math.gcd(32, channels // 2), channels)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _plain(conv: StdConv2d) -> nn.Conv2d:
    kernel = (conv.kernel_size[0], conv.kernel_size[1])
    stride = (conv.stride[0], conv.stride[1])
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, kernel, stride, bias=False)
    plain.padding = conv.padding
    plain.weight = nn.Parameter(conv.standardised_weight().detach())
    return plain.eval()
