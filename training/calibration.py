"""Probabilities that mean what they say, and the line below which an answer is unsure."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_COLDEST, _HOTTEST = 0.05, 20.0
_ROUNDS = 60


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature with the least cross-entropy (Guo et al. 2017, https://arxiv.org/abs/1706.04599).

    Args:
        logits: float (N, classes) of held-out photos.
        labels: int64 (N,).

    Returns:
        A number between 0.05 and 20; the logits are divided by it before the softmax.
    """

    def loss(log_temperature: float) -> float:
        scaled = logits.double() / torch.tensor(log_temperature).double().exp()
        return float(F.cross_entropy(scaled, labels))

    # The loss is convex in 1/temperature, so it has one valley in log temperature as well, and
    # a ternary search finds its floor.
    low, high = (float(torch.tensor(end).log()) for end in (_COLDEST, _HOTTEST))
    for _ in range(_ROUNDS):
        third = (high - low) / 3
        if loss(low + third) < loss(high - third):
            high -= third
        else:
            low += third
    return float(torch.tensor((low + high) / 2).exp())


def unsure_threshold(probabilities: Tensor, labels: Tensor, precision: float) -> float:
    """The lowest threshold whose answers are right often enough.

    Args:
        probabilities: float (N, classes) of held-out photos.
        labels: int64 (N,).
        precision: wanted share of right answers among those at or above the threshold, in 0..1.

    Returns:
        A best probability in 0..1; 1.0 where no threshold reaches the precision.
    """
    best, answers = probabilities.max(dim=1)
    order = best.argsort(descending=True)
    right = (answers == labels)[order].double().cumsum(0)
    share = right / torch.arange(1, len(order) + 1)
    # Photos of the same probability pass or fail together: count from the last of each.
    sorted_best = best[order]
    last_of_equals = torch.ones_like(sorted_best, dtype=torch.bool)
    last_of_equals[:-1] = sorted_best[:-1] != sorted_best[1:]
    enough = ((share >= precision) & last_of_equals).nonzero()
    return float(sorted_best[enough[-1]]) if len(enough) else 1.0
