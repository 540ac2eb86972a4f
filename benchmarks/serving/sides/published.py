"""Weight standardisation as BiT's authors published it, for the sides that run the eager network.

https://github.com/google-research/big_transfer: mean and variance of each filter over three axes,
in every forward pass. `training.models.bit` gets the same numbers from layer normalisation in a
tenth of the time, which is a part of what is measured here. Depends on torch alone: an archive
takes it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PublishedStdConv2d(nn.Conv2d):
    """A convolution whose filters are standardised before use."""

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Conv2d.forward`."""
        variance, mean = torch.var_mean(self.weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-10)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def as_published(network: nn.Module) -> nn.Module:
    """The same network, whose `StdConv2d` compute as published; other layers stay as they are."""
    for module in network.modules():
        if type(module).__name__ == "StdConv2d":
            module.__class__ = PublishedStdConv2d
    return network
