"""The steps of one phase, with its evaluations and checkpoints, to its end or its early stop."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from training.fitting.batches import Batches, Indices, Share
from training.fitting.checkpoint import Checkpoint, Checkpoints, Position
from training.fitting.journal import Journal
from training.fitting.losses import Loss, Mixup
from training.fitting.schedules import learning_rate, phase_steps
from training.fitting.signals import Signals
from training.fitting.source import Source
from training.fitting.validation import figures, logits_of
from training.spec import PhaseSpec, TrainingSpec


class TrainingError(Exception):
    """Training cannot go on; the message says why, and what is kept."""


class Interrupted(Exception):  # noqa: N818  (not a fault)
    """Somebody asked it to stop; all is saved."""


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


def make_batches(spec: TrainingSpec, number: int, labels: Indices) -> Batches:
    """The steps of phase `number`, which has orders of its own."""
    return Batches(labels, spec.batch_size, spec.imbalance, _seed(spec.seed, number))


def run_stage(stage: Stage, around: Surroundings, start: Position) -> Position:
    """Train from `start` to the end of the phase.

    Raises:
        Interrupted: by a signal, after the checkpoint is saved.
        TrainingError: the loss is not a number.
        CheckpointError: the disk is full.
        DatasetError: a photo is gone or does not decode any more; the rest is saved.
    """
    return _Steps(stage, around).run(start)


class _Steps:
    def __init__(self, stage: Stage, around: Surroundings) -> None:
        self._stage, self._around, self._spec = stage, around, around.spec
        self._accelerator = around.accelerator
        # Of 1x1 convolutions, whose layouts are the same thing under two names.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        self._wrapped = self._accelerator.prepare_model(stage.module)
        self._optimiser = self._accelerator.prepare_optimizer(stage.optimiser)
        self._batches = make_batches(self._spec, stage.number, stage.training.labels)
        self._end = phase_steps(stage.phase, len(stage.training.labels), self._batches.per_epoch)
        self._every = self._spec.evaluate_every or self._batches.per_epoch
        self._saved = time.monotonic()

    def run(self, at: Position) -> Position:
        batches, accelerator = self._batches, self._accelerator
        inputs = self._stage.training.steps(
            batches, at.step, self._end, accelerator.process_index, accelerator.num_processes
        )
        self._train_mode()
        while at.step < self._end:
            try:
                share, micro_batches = next(inputs)
                at, stop, due = self._step(at, share, micro_batches)
            except Exception:
                # What was learned since the last checkpoint is good; only this step is not.
                self._save(at)
                raise
            improved = False
            if at.step % self._every == 0 or at.step == self._end:
                before = at.best_total
                at = self._evaluate(at)
                improved = at.best_total != before
            if improved or stop or due:
                self._save(at)
            if stop:
                raise Interrupted(f"stopped after step {at.total}; all is saved")
            if self._spec.early_stop and at.since_best >= self._spec.early_stop:
                break
        accelerator.unwrap_model(self._wrapped, keep_fp32_wrapper=False)
        accelerator.free_memory()
        return at

    def _step(
        self, at: Position, share: Share, micro_batches: Iterator[Tensor]
    ) -> tuple[Position, bool, bool]:
        """One step; and whether to stop after it, and to save."""
        spec, accelerator, batches = self._spec, self._accelerator, self._batches
        rate = learning_rate(self._stage.phase, at.step, len(batches.labels), batches.per_epoch)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        # Dropout follows from the step, so that a resumed run draws the same.
        torch.manual_seed(_seed(spec.seed, self._stage.number, at.step, accelerator.process_index))
        total = self._backward(at.step, share, micro_batches)
        saves = spec.checkpoint_minutes == 0 or (
            time.monotonic() - self._saved > 60 * spec.checkpoint_minutes
        )
        flags = [float(self._around.signals.stop), float(saves and accelerator.is_main_process)]
        told = torch.stack([total, *torch.tensor(flags, device=total.device)])
        loss, stop, due = accelerator.reduce(told, "sum").tolist()
        norm = self._clip()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(
                f"the loss of step {at.total + 1} is {loss}, the norm of its gradient {norm}: "
                "training cannot go on; what was learned before is saved, but going on from it "
                "leads here again: a lower learning rate or clip_norm may help"
            )
        self._optimiser.step()
        self._optimiser.zero_grad()
        count = len(batches.step(at.step))
        at = dataclasses.replace(
            at,
            step=at.step + 1,
            total=at.total + 1,
            loss=at.loss + loss,
            photos=at.photos + count,
        )
        self._around.journal.step(at.total, loss / count, rate, count)
        return at, stop > 0, due > 0

    def _backward(self, step: int, share: Share, micro_batches: Iterator[Tensor]) -> Tensor:
        """Gradients of the mean loss of all processes' photos; the sum of this one's losses."""
        accelerator, stage, batches = self._accelerator, self._stage, self._batches
        # The processes' gradients are averaged, hence their number as a factor.
        weight = accelerator.num_processes / len(batches.step(step)) if share.counts else 0.0
        mixup = Mixup(stage.mixup, _seed(self._spec.seed, stage.number, 1), step)
        total = torch.zeros((), device=accelerator.device)
        for number, chosen in enumerate(share.micro_batches, 1):
            inputs = next(micro_batches)
            targets = torch.from_numpy(batches.labels[chosen]).to(inputs.device)
            inputs, loss_of = mixup(inputs, targets, stage.loss)
            last = number == len(share.micro_batches)
            with nullcontext() if last else accelerator.no_sync(self._wrapped):
                loss = loss_of(self._wrapped(inputs))
                accelerator.backward(loss * weight)
            total += loss.detach() * share.counts
        return total

    def _clip(self) -> float:
        """The gradients' norm, of all processes together, before it is cut down."""
        parameters = [p for g in self._optimiser.param_groups for p in g["params"]]
        if self._accelerator.mixed_precision == "fp16":
            # Gradients that overflow are left out by the scaler, which then scales less.
            if self._spec.clip_norm:
                self._accelerator.clip_grad_norm_(parameters, self._spec.clip_norm)
            return 0.0
        norm = nn.utils.clip_grad_norm_(parameters, self._spec.clip_norm or math.inf)
        return float(norm)

    def _evaluate(self, at: Position) -> Position:
        logits = logits_of(
            self._accelerator.unwrap_model(self._wrapped),
            self._stage.validation,
            self._accelerator,
            reduced=True,
        )
        self._train_mode()
        found = figures(logits, torch.from_numpy(self._stage.validation.labels))
        value = found[self._spec.metric]
        better = at.best is None or (
            value < at.best if self._spec.metric == "loss" else value > at.best
        )
        rate = float(self._optimiser.param_groups[0]["lr"])
        epoch = at.step / self._batches.per_epoch
        self._around.journal.evaluated(
            at.total, self._stage.number, epoch, at.loss / at.photos, rate, found
        )
        at = dataclasses.replace(at, loss=0.0, photos=0, since_best=at.since_best + 1)
        if better:
            at = dataclasses.replace(at, best=value, best_total=at.total, since_best=0)
            if self._accelerator.is_main_process:
                self._around.checkpoints.save_best(self._stage.model.state_dict())
        return at

    def _train_mode(self) -> None:
        self._wrapped.train()
        for module in self._stage.frozen:
            module.eval()

    def _save(self, at: Position) -> None:
        self._saved = time.monotonic()
        if self._accelerator.is_main_process:
            state: dict[str, Any] = self._optimiser.state_dict()
            self._around.checkpoints.save(
                Checkpoint(at, self._around.identity, self._stage.model.state_dict(), state)
            )


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
