"""All phases of a recipe, from the beginning or from a checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from handlers.preprocessing import Preprocessing
from training.fitting import hyperrule
from training.fitting.batches import Indices
from training.fitting.checkpoint import Checkpoint, Position
from training.fitting.features import compute_features
from training.fitting.losses import summed_cross_entropy
from training.fitting.photos import Photos, normaliser
from training.fitting.rows import node_of
from training.fitting.schedules import phase_steps
from training.fitting.source import FeatureSource, PhotoSource, Source
from training.fitting.stage import Interrupted, Stage, Surroundings
from training.fitting.steps import make_batches, run_stage
from training.spec import AugmentationSpec, PhaseSpec, Sgd, TrainingSpec


def photos_before(spec: TrainingSpec, labels: Indices, at: Position) -> int:
    """How many photos have gone through the network at a position, without early stops."""
    total = 0
    for number, phase in enumerate(spec.phases[: at.phase + 1]):
        batches = make_batches(spec, number, labels)
        steps = phase_steps(phase, len(labels), batches.per_epoch)
        total += batches.photos_before(at.step if number == at.phase else steps)
    return total


def photos_in_all(spec: TrainingSpec, labels: Indices) -> int:
    """How many photos go through the network in all phases."""
    return photos_before(spec, labels, Position(phase=len(spec.phases)))


class Fit:
    """One training of one model."""

    def __init__(
        self,
        architecture: ModuleType,
        model: nn.Module,
        classes: int,
        preprocessing: Preprocessing,
        augmentation: AugmentationSpec,
        training: Photos,
        validation: Photos,
        around: Surroundings,
        folder: Path,
    ) -> None:
        """Features of photos lie in `folder` while they are needed."""
        self._classes = classes
        device: torch.device = around.accelerator.device
        self._model = model.to(device).to(memory_format=torch.channels_last)
        self._backbone, self._head = architecture.backbone_and_head(self._model)
        self._augmentation = augmentation
        self._training, self._validation = training, validation
        self._around, self._folder = around, folder
        self._node = node_of(around.accelerator)
        self._normalised = normaliser(preprocessing, around.accelerator.device)

    def run(self, checkpoint: Checkpoint | None) -> Position:
        """Train to the end; the best weights lie in `around.checkpoints` then.

        Raises:
            As of `run_stage`.
        """
        at = Position()
        if checkpoint is not None:
            at = checkpoint.position
            self._model.load_state_dict(dict(checkpoint.model))
        self._around.journal.go_on(
            at.total, photos_before(self._around.spec, self._training.labels, at)
        )
        for number, phase in enumerate(self._around.spec.phases):
            if number < at.phase:
                continue
            stage = self._stage(number, phase)
            if checkpoint is not None and number == checkpoint.position.phase:
                stage.optimiser.load_state_dict(dict(checkpoint.optimiser))
                stage = dataclasses.replace(stage, scaler=checkpoint.scaler)
            at = run_stage(stage, self._around, at)
            self._forget_features()
            at = dataclasses.replace(at, phase=number + 1, step=0, since_best=0, loss=0.0, photos=0)
        return at

    def _stage(self, number: int, phase: PhaseSpec) -> Stage:
        spec, device = self._around.spec, self._around.accelerator.device
        head_only = phase.train == "head"
        self._backbone.requires_grad_(not head_only)
        self._head.requires_grad_(True)
        module = self._model
        frozen: tuple[nn.Module, ...] = (self._backbone,) if head_only else ()
        training: Source = PhotoSource(self._training, spec.micro_batch, self._normalised)
        validation: Source = PhotoSource(self._validation, spec.micro_batch, self._normalised)
        if phase.cached_views:
            module, frozen = self._head, ()
            training = self._features(self._training, f"{number}-training", phase.cached_views)
            validation = self._features(self._validation, f"{number}-validation", 1)
        if phase.freeze_norm:
            norms = nn.modules.batchnorm._BatchNorm
            frozen += tuple(each for each in module.modules() if isinstance(each, norms))
        alpha = self._augmentation.mixup
        return Stage(
            number=number,
            phase=phase,
            model=self._model,
            module=module,
            frozen=frozen,
            optimiser=self._optimiser(phase),
            training=training,
            validation=validation,
            loss=summed_cross_entropy(
                self._training.labels,
                self._classes,
                spec.imbalance,
                spec.label_smoothing,
                device,
            ),
            mixup=hyperrule.mixup(len(self._training)) if alpha == "hyperrule" else alpha,
        )

    def _optimiser(self, phase: PhaseSpec) -> Optimizer:
        groups = [{"params": list(self._head.parameters()), "factor": 1.0}]
        if phase.train == "all":
            backbone = list(self._backbone.parameters())
            groups.append({"params": backbone, "factor": phase.backbone_factor})
        kind = phase.optimiser
        if isinstance(kind, Sgd):
            return SGD(
                groups,
                phase.learning_rate,
                kind.momentum,
                weight_decay=kind.weight_decay,
                nesterov=kind.nesterov,
            )
        return AdamW(groups, phase.learning_rate, weight_decay=kind.weight_decay)

    def _features(self, photos: Photos, what: str, views: int) -> FeatureSource:
        around = self._around
        file = self._folder / f"{self._node.first_rank}-features-{what}.f32"
        features = compute_features(
            self._backbone.eval(),
            photos,
            views,
            file,
            self._node,
            self._normalised,
            around.journal.progress,
            self._go_on,
        )
        return FeatureSource(
            features, photos.labels, around.spec.micro_batch, around.accelerator.device
        )

    def _go_on(self) -> None:
        if self._around.signals.stop:
            raise Interrupted("stopped while the backbone was at work, which begins anew then")

    def _forget_features(self) -> None:
        """The next phase's backbone is another one."""
        if self._node.local_rank == 0:
            for file in self._folder.glob(f"{self._node.first_rank}-features-*"):
                file.unlink()
