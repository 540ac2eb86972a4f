"""VGG's convolutions with a small head behind an average pool.

Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556. Names and shapes of `features` are
torchvision's (without batch norm), whose ImageNet files load into them; they expect inputs
normalised with mean [0.485, 0.456, 0.406] and standard deviation [0.229, 0.224, 0.225]. The head is
not VGG's three layers of 120 million parameters but pool, 512 -> 256, ReLU, dropout, classes. This
file is copied alone into every archive: it depends on torch only.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_CHANNELS = (64, 128, 256, 512, 512)


def build(
    num_classes: int,
    *,
    convolutions: Sequence[int] = (2, 2, 3, 3, 3),
    width: float = 1.0,
    dropout: float = 0.2,
) -> VGG:
    """A randomly initialised network.

    Args:
        num_classes: length of the logits.
        convolutions: in each of the five blocks: `[2, 2, 3, 3, 3]` is VGG-16, `[1, 1, 2, 2, 2]`
            VGG-11.
        width: factor on all channel counts, for small machines; 64 * width must be whole.
        dropout: share of the head's 256 hidden values that training drops.

    Returns:
        Module from float (N, 3, H, W), H and W at least 32, to logits (N, num_classes).

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    if not _is_count(num_classes):
        raise ValueError(f"num_classes is {num_classes!r}; a whole number from 1 on is needed")
    blocks = convolutions
    if not isinstance(blocks, Sequence) or len(blocks) != 5 or not all(map(_is_count, blocks)):
        raise ValueError(f"convolutions is {blocks!r}; five whole numbers from 1 on are needed")
    if not isinstance(width, int | float) or not 64 * width >= 1 or 64 * width % 1 != 0:
        raise ValueError(f"width is {width!r}; 64 * width must be a whole number from 1 on")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout!r}; from 0 to less than 1 is allowed")
    return VGG(num_classes, blocks, [int(count * width) for count in _CHANNELS], dropout)


def fold(model: nn.Module) -> nn.Module:
    """A copy for inference: in evaluation mode, channels last. There is no norm to fold."""
    return copy.deepcopy(model).eval().to(memory_format=torch.channels_last)


def explained_layer(model: nn.Module) -> nn.Module:
    """The layer before the last max pool; its output is (N, channels, H/16, W/16).

    Behind that pool the map would be half as fine.
    """
    features = model.get_submodule("features")
    return features.get_submodule(str(len(list(features.children())) - 2))


def explained_cells(model: nn.Module) -> tuple[float, float]:
    """The pixel that the first cell of the explained layer is centred on, and the step to the next.

    Each of the four 2x2 pools before it moves the centre by half of its own step: 1/2, 1, 2 and 4.
    """
    return 7.5, 16.0


def backbone_and_head(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """(photos -> pooled features (N, channels), features -> logits), sharing the parameters."""
    layers = [model.get_submodule(name) for name in ("features", "avgpool")]
    return nn.Sequential(*layers, nn.Flatten()), model.get_submodule("classifier")


class VGG(nn.Module):
    """Five blocks of convolutions, average pool, two linear layers; use `build`."""

    def __init__(
        self, num_classes: int, convolutions: Sequence[int], channels: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in = 3
        for count, c_out in zip(convolutions, channels, strict=True):
            for _ in range(count):
                layers += [nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU(inplace=True)]
                c_in = c_out
            layers.append(nn.MaxPool2d(2))
        # Not in place: the explanations hook this layer, and a full backward hook forbids it.
        layers[-2] = nn.ReLU()
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(c_in, 256), nn.ReLU(), nn.Dropout(dropout), nn.Linear(256, num_classes)
        )
        for layer in layers:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
