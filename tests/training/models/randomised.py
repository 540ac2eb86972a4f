"""Networks whose every weight and statistic is random, so that none can be left out unnoticed."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def randomise(model: nn.Module, seed: int = 0) -> None:
    """In evaluation mode; activations keep their size from layer to layer, more or less."""
    generator = torch.Generator().manual_seed(seed)

    def noise(value: Tensor) -> Tensor:
        return torch.randn(value.shape, generator=generator)

    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                fan_in = layer.weight[0].numel()
                layer.weight.copy_(noise(layer.weight) * (2 / fan_in) ** 0.5)
                if layer.bias is not None:
                    layer.bias.copy_(0.1 * noise(layer.bias))
            if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm):
                layer.weight.copy_(1 + 0.2 * noise(layer.weight))
                layer.bias.copy_(0.2 * noise(layer.bias))
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.copy_(0.3 * noise(layer.running_mean))
                layer.running_var.copy_(noise(layer.running_var).exp())
    model.eval()


def photos(count: int, *size: int, seed: int = 1) -> Tensor:
    """Float32 (count, 3, *size) in [-1, 1]; one number is both sides."""
    height, width = size if len(size) == 2 else size * 2
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, height, width, generator=generator) * 2 - 1
