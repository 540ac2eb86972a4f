"""Tensors out of files of others, as the parameters of a model."""

from __future__ import annotations

import torch
from torch import Tensor


def as_float32(tensor: Tensor) -> Tensor | None:
    """The tensor in float32.

    None where it holds something else than finite floating point, or values that float32 cannot
    hold: 1e300 becomes infinite only by the conversion, so what comes out of that is looked at.
    """
    dense = tensor.layout == torch.strided and not tensor.is_meta
    if not dense or not tensor.is_floating_point():
        return None
    try:
        converted = tensor.to(torch.float32)
    except RuntimeError:
        # Of the types of 8 bits and less some can be stored and no more.
        return None
    return converted if bool(torch.isfinite(converted).all()) else None
