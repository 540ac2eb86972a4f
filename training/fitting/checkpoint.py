"""All that `--resume` needs, in one file that is replaced whole.

    checkpoint/latest.pt          model, optimiser, and where training stood
    checkpoint/best.safetensors   the weights with the best metric so far

Randomness is not in it: order, views, mixup and dropout follow from seed and step.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

_FOLDER = "checkpoint"
_LATEST, _BEST = "latest.pt", "best.safetensors"


class CheckpointError(Exception):
    """There is nothing to go on from, or nowhere to save; the message says what to do."""


@dataclass(frozen=True)
class Position:
    """Where training stands.

    Attributes:
        phase: counted from 0.
        step: of the phase; that many are done.
        total: steps of all phases that are done.
        best: value of the metric of `best.safetensors`; None: there is none yet.
        best_total: steps that were done then.
        since_best: evaluations since.
        loss: of all photos since the last evaluation, summed.
        photos: how many these are.
    """

    phase: int = 0
    step: int = 0
    total: int = 0
    best: float | None = None
    best_total: int = 0
    since_best: int = 0
    loss: float = 0.0
    photos: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """What was saved.

    Attributes:
        identity: of the recipe, the split and the weights that training began with.
        optimiser: state of the phase's optimiser.
        scaler: of the gradients' scaler with float16; else None.
    """

    position: Position
    identity: Mapping[str, str]
    model: Mapping[str, Tensor]
    optimiser: Mapping[str, Any]
    scaler: Mapping[str, Any] | None = None


class Checkpoints:
    """The checkpoints of a run folder."""

    def __init__(self, run: Path) -> None:
        self._folder = run / _FOLDER

    def __bool__(self) -> bool:
        return (self._folder / _LATEST).exists()

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the latest.

        Raises:
            CheckpointError: the disk is full; the one before is kept.
        """
        content = dataclasses.asdict(checkpoint.position)
        self._replace(
            _LATEST,
            lambda file: torch.save(
                {
                    "position": content,
                    "identity": dict(checkpoint.identity),
                    "model": dict(checkpoint.model),
                    "optimiser": checkpoint.optimiser,
                    "scaler": checkpoint.scaler,
                },
                file,
            ),
        )

    def load(self, identity: Mapping[str, str]) -> Checkpoint:
        """The latest; no code in it is run.

        Raises:
            CheckpointError: it cannot be read, or belongs to another training.
        """
        path = self._folder / _LATEST
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            found = Checkpoint(
                Position(**content["position"]),
                content["identity"],
                content["model"],
                content["optimiser"],
                content["scaler"],
            )
        except Exception as error:
            raise CheckpointError(f"{path}: cannot be read: {error}") from error
        for what, value in identity.items():
            if found.identity.get(what) != value:
                raise CheckpointError(
                    f"{path}: was made with another {what}; go on with that, or remove "
                    f"{self._folder.parent} to start again"
                )
        return found

    def save_best(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the best.

        Raises:
            CheckpointError: the disk is full; the one before is kept.
        """
        content = safetensors.torch.save({k: v.contiguous() for k, v in weights.items()})
        self._replace(_BEST, lambda file: file.write(content))

    def load_best(self) -> dict[str, Tensor]:
        """Weights with the best metric.

        Raises:
            CheckpointError: it cannot be read.
        """
        path = self._folder / _BEST
        try:
            return safetensors.torch.load_file(path)
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{path}: cannot be read: {error}") from error

    def remove(self) -> None:
        """Once the run is finished."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _replace(self, name: str, write: Callable[[IO[bytes]], object]) -> None:
        partial = self._folder / f"{name}.partial"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._folder / name)
        # torch.save says RuntimeError where its file cannot be written.
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            kept = "the one before is kept: " if (self._folder / name).exists() else ""
            raise CheckpointError(
                f"{self._folder / name}: cannot be written: {error}; "
                f"{kept}make room, then go on with --resume"
            ) from error
