from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.models.float32 import as_float32


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2]
)
def test_floating_point_of_any_size_becomes_float32(dtype: torch.dtype) -> None:
    values = torch.tensor([-0.5, 0.0, 2.0], dtype=dtype)
    converted = as_float32(values)
    assert converted is not None
    assert converted.dtype == torch.float32
    assert converted.tolist() == [-0.5, 0.0, 2.0]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([1.0, float("nan")]),
        torch.tensor([float("-inf")]),
        torch.tensor([1e300], dtype=torch.float64),
        torch.tensor([float("nan")]).to(torch.float8_e4m3fn),
        torch.tensor([1]),
        torch.tensor([True]),
        torch.tensor([1j]),
        torch.tensor([1.0]).to_sparse(),
        torch.empty(3, device="meta"),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tensor.layout} {tensor.device}",
)
def test_what_float32_cannot_hold_is_none(tensor: Tensor) -> None:
    assert as_float32(tensor) is None
