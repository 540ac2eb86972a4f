"""ResNet with basic blocks: ResNet-18 and ResNet-34.

He et al. 2016, https://arxiv.org/abs/1512.03385. Parameter names are torchvision's, whose ImageNet
files load but for `fc`; they expect inputs normalised with mean [0.485, 0.456, 0.406] and standard
deviation [0.229, 0.224, 0.225]. This file is copied alone into every archive: it depends on torch
only.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def build(num_classes: int, *, layers: Sequence[int] = (3, 4, 6, 3), width: float = 1.0) -> ResNet:
    """A randomly initialised ResNet.

    Args:
        num_classes: length of the logits.
        layers: basic blocks in each of the four stages: `[3, 4, 6, 3]` is ResNet-34, `[2, 2, 2, 2]`
            ResNet-18.
        width: factor on all channel counts, for small machines; 64 * width must be whole.

    Returns:
        Module from float (N, 3, H, W) to logits (N, num_classes).

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    if not _is_count(num_classes):
        raise ValueError(f"num_classes is {num_classes!r}; a whole number from 1 on is needed")
    if not isinstance(layers, Sequence) or len(layers) != 4 or not all(map(_is_count, layers)):
        raise ValueError(f"layers is {layers!r}; four whole numbers from 1 on are needed")
    if not isinstance(width, int | float) or not 64 * width >= 1 or 64 * width % 1 != 0:
        raise ValueError(f"width is {width!r}; 64 * width must be a whole number from 1 on")
    return ResNet(num_classes, layers, int(64 * width))


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
    """The layer whose output (N, channels, H/32, W/32) goes into the average pool."""
    return model.get_submodule("layer4")


def explained_cells(model: nn.Module) -> tuple[float, float]:
    """The pixel that the first cell of the explained layer is centred on, and the step to the next.

    Kernels are odd and padded by half of them, so that no layer moves the centre from pixel 0.
    """
    return 0.0, 32.0


def backbone_and_head(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """(photos -> pooled features (N, channels), features -> logits), sharing the parameters."""
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")
    layers = [model.get_submodule(name) for name in names]
    return nn.Sequential(*layers, nn.Flatten()), model.get_submodule("fc")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input passes."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride=stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)) + shortcut)
        return y


class ResNet(nn.Module):
    """Stem, four stages, average pool, one linear layer; use `build`."""

    def __init__(self, num_classes: int, layers: Sequence[int], channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(channels, channels, layers[0], 1)
        self.layer2 = _stage(channels, 2 * channels, layers[1], 2)
        self.layer3 = _stage(2 * channels, 4 * channels, layers[2], 2)
        self.layer4 = _stage(4 * channels, 8 * channels, layers[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * channels, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def _stage(c_in: int, c_out: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(c_in, c_out, stride)
    return nn.Sequential(first, *(BasicBlock(c_out, c_out, 1) for _ in range(blocks - 1)))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
