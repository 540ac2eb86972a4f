"""What a phase trains, with what; and how training ends early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from torch import nn
from torch.distributed import DistError, is_initialized
from torch.optim import Optimizer

from training.fitting.checkpoint import Checkpoints
from training.fitting.journal import Journal
from training.fitting.losses import Loss
from training.fitting.signals import Signals
from training.fitting.source import Source
from training.spec import PhaseSpec, TrainingSpec


class TrainingError(Exception):
    """Training cannot go on; the message says why, and what is kept."""


class Interrupted(Exception):  # noqa: N818  (not a fault)
    """Somebody asked it to stop; all is saved."""


def is_lost_process(error: RuntimeError) -> bool:
    """Whether one of several processes, once they were joined, was not reached by this one.

    On GPUs NCCL's watchdog may end the process before this can be asked.
    """
    # NCCL's errors have a type; gloo's are told by their text alone.
    return is_initialized() and (isinstance(error, DistError) or "/gloo/" in str(error))


@dataclass(frozen=True)
class Surroundings:
    """What all phases share.

    Attributes:
        identity: see `Checkpoint`.
    """

    spec: TrainingSpec
    accelerator: Accelerator
    checkpoints: Checkpoints
    identity: dict[str, str]
    journal: Journal
    signals: Signals


@dataclass(frozen=True)
class Stage:
    """A phase and what it trains.

    Attributes:
        number: counted from 0.
        model: the whole, for checkpoints.
        module: the part that is trained: the model, or its head on features.
        frozen: modules that stay in evaluation mode.
        optimiser: each of its groups has a `factor` of the learning rate.
        mixup: alpha; 0 for none.
        scaler: state of the gradients' scaler to go on with.
    """

    number: int
    phase: PhaseSpec
    model: nn.Module
    module: nn.Module
    frozen: tuple[nn.Module, ...]
    optimiser: Optimizer
    training: Source
    validation: Source
    loss: Loss
    mixup: float
    scaler: Mapping[str, Any] | None = None
