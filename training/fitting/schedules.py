"""Learning rate by step: pure functions, which a resumed run simply asks again."""

from __future__ import annotations

import math
from collections.abc import Sequence

from training.fitting import hyperrule
from training.spec import Constant, Cosine, HyperRule, OneCycle, PhaseSpec, Steps

# Of torch's OneCycleLR: where the cycle starts and ends, as shares of the peak.
_START, _END = 1 / 25, 1 / 25 / 1e4


def phase_steps(phase: PhaseSpec, photos: int, steps_per_epoch: int) -> int:
    """How many steps a phase has.

    Args:
        photos: in the training part.
        steps_per_epoch: of this phase's batches.
    """
    if isinstance(phase.schedule, HyperRule):
        return hyperrule.steps(photos)[-1]
    return phase.steps or (phase.epochs or 0) * steps_per_epoch


def learning_rate(phase: PhaseSpec, step: int, photos: int, steps_per_epoch: int) -> float:
    """Of the head at a step, counted from 0; the backbone's is `backbone_factor` times it."""
    peak, total = phase.learning_rate, phase_steps(phase, photos, steps_per_epoch)
    match phase.schedule:
        case Constant():
            return peak
        case OneCycle(warmup=warmup):
            return peak * one_cycle(step, total, warmup)
        case Cosine(floor=floor, half_period=epochs):
            half = epochs * steps_per_epoch if epochs else total
            return floor + (peak - floor) * (1 + math.cos(math.pi * step / half)) / 2
        case Steps(warmup=warmup, drops=drops):
            return peak * stairs(step, warmup, drops)
        case HyperRule():
            first, *others, _end = hyperrule.steps(photos)
            return peak * stairs(step, first, others)


def one_cycle(step: int, total: int, warmup: float) -> float:
    """Share of the peak, as torch's OneCycleLR with cosine annealing has it."""
    top = max(warmup * total - 1, 1e-9)
    if step <= top:
        return _between(_START, 1.0, step / top)
    return _between(1.0, _END, min(1.0, (step - top) / max(total - 1 - top, 1e-9)))


def stairs(step: int, warmup: int, drops: Sequence[int]) -> float:
    """Linear warm-up, then a tenth after each drop; comparisons are strict, as in HyperRule."""
    if step < warmup:
        return step / warmup
    return 0.1 ** sum(drop < step for drop in drops)


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
