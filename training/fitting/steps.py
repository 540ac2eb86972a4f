"""The steps of one phase, with its evaluations and checkpoints, to its end or its early stop."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, nullcontext

import numpy as np
import torch
from accelerate.utils import broadcast
from torch import Tensor, nn

from training.data.dataset import DatasetError
from training.fitting.batches import Batches, Indices, Share
from training.fitting.checkpoint import Checkpoint, Position
from training.fitting.losses import Mixup
from training.fitting.schedules import learning_rate, phase_steps
from training.fitting.stage import Interrupted, Stage, Surroundings, TrainingError
from training.fitting.validation import figures, gathered, my_logits
from training.spec import TrainingSpec


def make_batches(spec: TrainingSpec, number: int, labels: Indices) -> Batches:
    """The steps of phase `number`, which has orders of its own."""
    return Batches(labels, spec.batch_size, spec.imbalance, _seed(spec.seed, number))


def run_stage(stage: Stage, around: Surroundings, start: Position) -> Position:
    """Train from `start` to the end of the phase.

    Raises:
        Interrupted: by a signal, after the checkpoint is saved.
        TrainingError: the loss is not a number, and the last checkpoint is kept; or a photo is
            gone or does not decode any more, and all is saved.
        CheckpointError: the disk is full.
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
        if stage.scaler is not None and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(dict(stage.scaler))
        self._batches = make_batches(self._spec, stage.number, stage.training.labels)
        self._end = phase_steps(stage.phase, len(stage.training.labels), self._batches.per_epoch)
        self._every = self._spec.evaluate_every or self._batches.per_epoch
        self._saved = time.monotonic()

    def run(self, at: Position) -> Position:
        accelerator = self._accelerator
        rank, world = accelerator.process_index, accelerator.num_processes
        if self._is_due(at) and at.photos:
            # What stopped it came in the way of this evaluation.
            at = self._judged(at)
        self._train_mode()
        self._around.journal.work()
        with closing(
            self._stage.training.steps(self._batches, at.step, self._end, rank, world)
        ) as given:
            while at.step < self._end and not self._is_enough(at):
                at = self._on(at, given)
        accelerator.unwrap_model(self._wrapped, keep_fp32_wrapper=False)
        accelerator.free_memory()
        return at

    def _on(self, at: Position, given: Iterator[tuple[Share, list[Tensor]]]) -> Position:
        """One step, and what is due after it."""
        share, micro_batches = self._next(given, at)
        at, loss, stop, due = self._step(at, share, micro_batches)
        count = len(self._batches.step(at.step - 1))
        self._around.journal.step(at.total, loss / count, self._rate(at.step - 1), count)
        judged = at
        if self._is_due(at):
            self._around.journal.rest()
            judged = self._judged(at)
            self._around.journal.work()
        if judged.best_total != at.best_total or stop or due:
            self._save(judged)
        if stop:
            raise Interrupted(f"stopped after step {at.total}; all is saved")
        return judged

    def _is_due(self, at: Position) -> bool:
        """Whether the validation photos are asked after that step."""
        return at.step > 0 and (at.step % self._every == 0 or at.step == self._end)

    def _is_enough(self, at: Position) -> bool:
        return 0 < self._spec.early_stop <= at.since_best

    def _rate(self, step: int) -> float:
        batches = self._batches
        return learning_rate(self._stage.phase, step, len(batches.labels), batches.per_epoch)

    def _next(
        self, given: Iterator[tuple[Share, list[Tensor]]], at: Position
    ) -> tuple[Share, list[Tensor]]:
        """What the next step takes, whole, before anything is computed from it.

        So a photo that is missing leaves weights and statistics as they were after the last step.
        """
        fault: Exception | None = None
        try:
            taken = next(given)
        except DatasetError as error:
            fault = error
        self._stop_together(fault, at)
        return taken

    def _stop_together(self, fault: Exception | None, at: Position) -> None:
        """Save and stop where any process has a fault; one alone would leave the others waiting."""
        faults = torch.tensor(float(fault is not None), device=self._accelerator.device)
        if not float(self._accelerator.reduce(faults, "sum")):
            return
        self._save(at)
        if fault is None:
            raise TrainingError("another process could not read a photo; all is saved")
        raise TrainingError(
            f"{fault}; all is saved: mend that, then go on with --resume"
        ) from fault

    def _step(
        self, at: Position, share: Share, micro_batches: list[Tensor]
    ) -> tuple[Position, float, bool, bool]:
        """One step: where it leads, its loss, whether to stop after it, and whether to save."""
        spec, accelerator = self._spec, self._accelerator
        rate = self._rate(at.step)
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
                "training cannot go on, and going on from the last checkpoint leads here again; "
                "begin anew with a lower learning rate, or with clip_norm"
            )
        self._optimiser.step()
        self._optimiser.zero_grad()
        at = dataclasses.replace(
            at,
            step=at.step + 1,
            total=at.total + 1,
            loss=at.loss + loss,
            photos=at.photos + len(self._batches.step(at.step)),
        )
        return at, loss, stop > 0, due > 0

    def _backward(self, step: int, share: Share, micro_batches: list[Tensor]) -> Tensor:
        """Gradients of the mean loss of all processes' photos; the sum of this one's losses."""
        accelerator, stage, batches = self._accelerator, self._stage, self._batches
        # The processes' gradients are averaged, hence their number as a factor.
        weight = accelerator.num_processes / len(batches.step(step)) if share.counts else 0.0
        mixup = Mixup(stage.mixup, _seed(self._spec.seed, stage.number, 1), step)
        total = torch.zeros((), device=accelerator.device)
        for number, batch in enumerate(micro_batches):
            inputs = stage.training.prepared(batch)
            targets = torch.from_numpy(batches.labels[share.micro_batches[number]])
            targets = targets.to(inputs.device)
            inputs, loss_of = mixup(inputs, targets, stage.loss, share.places[number])
            last = number == len(micro_batches) - 1
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

    def _judged(self, at: Position) -> Position:
        """Evaluate, and keep the weights where they are the best so far."""
        if self._accelerator.num_processes > 1:
            # Each process has statistics of its own photos; those of the first one are saved.
            for buffer in self._stage.model.buffers():
                buffer.copy_(broadcast(buffer))
        module = self._accelerator.unwrap_model(self._wrapped)
        fault: Exception | None = None
        try:
            mine = my_logits(module, self._stage.validation, self._accelerator, reduced=True)
        except DatasetError as error:
            fault = error
        self._stop_together(fault, at)
        logits = gathered(mine, len(self._stage.validation.labels), self._accelerator)
        self._train_mode()
        found = figures(logits, torch.from_numpy(self._stage.validation.labels))
        if not math.isfinite(found["loss"]):
            raise TrainingError(
                f"after step {at.total} the validation loss is {found['loss']}: training has "
                "diverged; begin anew with a lower learning rate, or with clip_norm"
            )
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
        if not self._accelerator.is_main_process:
            return
        model, scaler = self._stage.model.state_dict(), self._accelerator.scaler
        if not all(bool(torch.isfinite(value).all()) for value in model.values()):
            raise TrainingError(
                f"after step {at.total} not all weights are numbers: training has diverged; "
                "the checkpoint before is kept; begin anew with a lower learning rate or clip_norm"
            )
        self._around.checkpoints.save(
            Checkpoint(
                at,
                self._around.identity,
                model,
                self._optimiser.state_dict(),
                None if scaler is None else scaler.state_dict(),
            )
        )


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
