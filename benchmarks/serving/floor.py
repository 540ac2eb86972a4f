"""What the machine could do: the network's arithmetic and memory traffic against its peaks.

No implementation of these float32 or bfloat16 convolutions needs less time than their operations at
the rate of the fastest matrix product, or their bytes at the rate of a copy, whichever is longer.
(One that does fewer operations, as Winograd's 3x3 or int8 do, may come below the first.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

_MATRIX = 2048
_COPIED = 256 * 2**20
_LEAST_S = 0.5
_TRIES = 5


@dataclass(frozen=True)
class Peak:
    """The best of several tries, so that other work on the machine matters little.

    Attributes:
        float32_gflops, bfloat16_gflops: of a matrix product of 2048 x 2048; a multiplication with
            its addition is two operations.
        copy_gb_s: bytes read and written by a copy of 256 MB, 10^9 a second.
    """

    threads: int
    float32_gflops: float
    bfloat16_gflops: float
    copy_gb_s: float


@dataclass(frozen=True)
class Work:
    """What one photo takes.

    Attributes:
        side: of the square input, px.
        gflop: of convolutions and linear layers; a multiplication with its addition is two.
        weights_mb: float32, read once for a batch.
        activations_mb: float32, each layer's input read and output written once.
    """

    side: int
    gflop: float
    weights_mb: float
    activations_mb: float

    def compute_ms(self, peak: Peak) -> float:
        """At the float32 peak."""
        return self.gflop / peak.float32_gflops * 1000

    def memory_ms(self, peak: Peak) -> float:
        """At the rate of a copy, nothing kept in a cache."""
        return (self.weights_mb + self.activations_mb) / 1000 / peak.copy_gb_s * 1000


def measure_peak(threads: int) -> Peak:
    """Takes some ten seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return Peak(
            threads, _matmul(torch.float32), _matmul(torch.bfloat16), _COPIED * 2 / 1e9 / _copy_s()
        )
    finally:
        torch.set_num_threads(before)


def work(network: nn.Module, side: int) -> Work:
    """Count one forward pass of a folded network.

    Args:
        network: from float32 (1, 3, side, side); evaluation mode.
    """
    bytes_moved = 0

    def look(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal bytes_moved
        for tensor in (*inputs, output):
            bytes_moved += tensor.numel() * tensor.element_size()

    leaves = [module for module in network.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(look) for module in leaves]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counted:
            network(torch.zeros(1, 3, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    weights = sum(value.numel() * value.element_size() for value in network.parameters())
    return Work(side, counted.get_total_flops() / 1e9, weights / 1e6, bytes_moved / 1e6)


def _matmul(dtype: torch.dtype) -> float:
    one = torch.rand(_MATRIX, _MATRIX).to(dtype)
    other = torch.rand(_MATRIX, _MATRIX).to(dtype)
    return 2 * _MATRIX**3 / 1e9 / _best_s(lambda: torch.mm(one, other))


def _copy_s() -> float:
    source = torch.zeros(_COPIED, dtype=torch.uint8)
    target = torch.empty_like(source)
    return _best_s(lambda: target.copy_(source))


def _best_s(do: Callable[[], object]) -> float:
    do()
    best, began, tries = float("inf"), time.perf_counter(), 0
    while tries < _TRIES or time.perf_counter() - began < _LEAST_S:
        start = time.perf_counter()
        do()
        best = min(best, time.perf_counter() - start)
        tries += 1
    return best
