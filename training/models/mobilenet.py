"""MobileNetV2.

Sandler et al. 2018, https://arxiv.org/abs/1801.04381. Parameter names are torchvision's, whose
ImageNet files load but for `classifier`; they expect inputs normalised with mean [0.485, 0.456,
0.406] and standard deviation [0.229, 0.224, 0.225]. This file is copied alone into every archive:
it depends on torch only.
"""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Table 2 of the paper: expansion, channels, blocks, stride of the first of them.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def build(num_classes: int, *, width: float = 1.0, dropout: float = 0.2) -> MobileNetV2:
    """A randomly initialised MobileNetV2.

    Args:
        num_classes: length of the logits.
        width: factor on all channel counts, which are then rounded to multiples of 8; the last
            1280 only grow.
        dropout: share of these that training drops.

    Returns:
        Module from float (N, 3, H, W) to logits (N, num_classes).

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 1:
        raise ValueError(f"num_classes is {num_classes!r}; a whole number from 1 on is needed")
    if not isinstance(width, int | float) or not 0 < width <= 10:
        raise ValueError(f"width is {width!r}; more than 0 and at most 10 is allowed")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout!r}; from 0 to less than 1 is allowed")
    return MobileNetV2(num_classes, width, dropout)


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
    """The layer whose output (N, 1280, H/32, W/32) goes into the average pool."""
    return model.get_submodule("features.18")


def explained_cells(model: nn.Module) -> tuple[float, float]:
    """The pixel that the first cell of the explained layer is centred on, and the step to the next.

    Kernels are odd and padded by half of them, so that no layer moves the centre from pixel 0.
    """
    return 0.0, 32.0


def backbone_and_head(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """(photos -> pooled features (N, 1280), features -> logits), sharing the parameters."""
    backbone = nn.Sequential(model.get_submodule("features"), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return backbone, model.get_submodule("classifier")


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; no activation behind the projection."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_norm_relu6(c_in, hidden, 1))
        layers.append(_conv_norm_relu6(hidden, hidden, 3, stride, groups=hidden))
        layers += [nn.Conv2d(hidden, c_out, 1, bias=False), nn.BatchNorm2d(c_out)]
        self.conv = nn.Sequential(*layers)
        self.passes = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.passes else y


class MobileNetV2(nn.Module):
    """Features, average pool, one linear layer; use `build`."""

    def __init__(self, num_classes: int, width: float, dropout: float) -> None:
        super().__init__()
        c_in = _rounded(32 * width)
        layers: list[nn.Module] = [_conv_norm_relu6(3, c_in, 3, stride=2)]
        for expansion, channels, blocks, stride in _STAGES:
            c_out = _rounded(channels * width)
            for number in range(blocks):
                first_stride = stride if number == 0 else 1
                layers.append(InvertedResidual(c_in, c_out, first_stride, expansion))
                c_in = c_out
        c_last = _rounded(1280 * max(1.0, width))
        layers.append(_conv_norm_relu6(c_in, c_last, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(c_last, num_classes))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


def _conv_norm_relu6(
    c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU6(inplace=True))


def _rounded(channels: float) -> int:
    """To a multiple of 8, at least 8, and never down by more than a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
