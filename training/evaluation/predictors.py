"""The same answers from three sources: a run folder, an archive, a running service."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import safetensors
import safetensors.torch
import torch
import yaml
from torch import Tensor

import handlers
from handlers.archive_format import verify_archive
from handlers.bundle import UnsureScore, load_bundle
from handlers.config import ConfigError, HandlerConfig, Limits
from handlers.cores import available_cores
from handlers.engines import GoldenSetError, Machine, choose_engine
from handlers.images import decode_image
from handlers.network import BundleError
from handlers.predictions import sureness
from handlers.preprocessing import Preprocessing
from handlers.problems import Problem
from training.evaluation.predictor import (
    Answered,
    EvaluationError,
    Kind,
    ModelDescription,
    Refused,
)
from training.run_folder import Run, build_model, read_run

# Pixels of the photos that go through the network at once: 64 at 224 x 224, fewer of larger ones.
_PIXELS_AT_ONCE = 64 * 224 * 224
_MOST_AT_ONCE = 64
# An answer has six digits; a probability below that is taken for this one.
_LEAST_PROBABILITY = 1e-7
_ASKED_AT_ONCE = 8


class LocalPredictor:
    """A network in this process.

    Args:
        limits: of the photos' bytes, pixels and frames; a photo beyond them is refused.
        logits: float32 (N, 3, height, width) -> float32 (N, classes).
        score: what decides that an answer is unsure.
    """

    def __init__(
        self,
        model: ModelDescription,
        preprocessing: Preprocessing,
        limits: Limits,
        logits: Callable[[Tensor], Tensor],
        score: UnsureScore,
    ) -> None:
        self.model = model
        self._preprocessing = preprocessing
        self._limits = limits
        self._logits = logits
        self._score = score
        height, width = preprocessing.size
        self._at_once = max(1, min(_MOST_AT_ONCE, _PIXELS_AT_ONCE // (height * width)))

    def predict(self, photos: Sequence[bytes]) -> list[Answered | Refused]:
        """See `Predictor.predict`."""
        answers: list[Answered | Refused] = []
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for start in range(0, len(photos), self._at_once):
                inputs = list(pool.map(self._input, photos[start : start + self._at_once]))
                decoded = [each for each in inputs if isinstance(each, Tensor)]
                found = iter(self._answers(torch.stack(decoded)) if decoded else [])
                answers += [each if isinstance(each, Refused) else next(found) for each in inputs]
        return answers

    def _input(self, photo: bytes) -> Tensor | Refused:
        try:
            return self._preprocessing(
                decode_image(photo, self._limits, self._preprocessing.decoded_side)
            )
        except Problem as problem:
            return Refused(problem.detail)

    def _answers(self, batch: Tensor) -> list[Answered | Refused]:
        logits = self._logits(batch)
        scores = sureness(logits, self.model.divisor, self._score)
        unsure = (scores < self.model.unsure_threshold).tolist()
        finite = logits.isfinite().all(dim=1).tolist()
        return [
            Answered(row, low) if good else Refused("the network's logits are not finite")
            for row, low, good in zip(logits, unsure, finite, strict=True)
        ]


def from_run(folder: Path) -> LocalPredictor:
    """The float32 model as it was trained.

    Raises:
        RunError: not a finished run.
        EvaluationError: its weights cannot be read or do not fit.
    """
    run = read_run(folder)
    network = build_model(run)
    try:
        network.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise EvaluationError(f"{folder / 'weights.safetensors'}: {error}") from error

    def logits(batch: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Tensor = network(batch)
            return found.float()

    model = described_by_run(folder, run)
    return LocalPredictor(model, run.preprocessing, Limits(), logits, _score(run.unsure_score))


def from_archive(path: Path) -> LocalPredictor:
    """The archive's network in the engine and precision that a worker would choose.

    Its architecture.py is run, so it is verified first; its handlers are not: those of this
    checkout take their place.

    Raises:
        ArchiveError: a byte of it is not as it was packed.
        EvaluationError: it cannot be loaded.
    """
    verify_archive(path)
    with tempfile.TemporaryDirectory(prefix="catbreeds-evaluate-") as scratch:
        folder = Path(scratch)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        try:
            settings = yaml.safe_load((folder / "model-config.yaml").read_text()) or {}
            config = HandlerConfig.from_dict(settings.get("catbreeds"))
            bundle = load_bundle(folder)
            threads = config.threads if config.threads != "auto" else available_cores()
            engine = choose_engine(bundle, config, Machine(threads, batch_size=_MOST_AT_ONCE))
        except (OSError, yaml.YAMLError, BundleError, ConfigError, GoldenSetError) as error:
            raise EvaluationError(f"{path}: {error}") from error
        remarks = _differing_handlers(folder / "handlers")
    if engine.precision != "f32":
        remarks = (*remarks, f"The archive computes in {engine.precision}.")
    model = described_by_card(bundle.card, "archive", str(path), bundle.class_names, remarks)
    return LocalPredictor(
        model, bundle.preprocessing, config.limits, engine.logits, bundle.unsure_score
    )


class ServedPredictor:
    """A service, by a function that asks it for one photo.

    Args:
        model: `has_logits` is False: answers hold probabilities.
        ask: photo -> the answer's JSON with all classes, or why this photo has none; it is called
            from several threads.
    """

    def __init__(
        self, model: ModelDescription, ask: Callable[[bytes], Mapping[str, Any] | str]
    ) -> None:
        self.model = model
        self._ask = ask

    def predict(self, photos: Sequence[bytes]) -> list[Answered | Refused]:
        """See `Predictor.predict`."""
        with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
            return list(pool.map(self._one, photos))

    def _one(self, photo: bytes) -> Answered | Refused:
        answer = self._ask(photo)
        if isinstance(answer, str):
            return Refused(answer)
        probabilities = torch.full((len(self.model.classes),), float("nan"))
        for each in answer["predictions"]:
            probabilities[each["class_id"]] = each["probability"]
        if probabilities.isnan().any():
            raise EvaluationError(
                f"{self.model.source}: answers {len(answer['predictions'])} of "
                f"{len(self.model.classes)} classes; all are needed"
            )
        # The network's own logits would be these times the temperature only as far as six digits
        # go: of the small probabilities, a temperature below 1 would make far too much.
        logits = probabilities.clamp_min(_LEAST_PROBABILITY).log()
        return Answered(logits, bool(answer["unsure"]))


def described_by_run(folder: Path, run: Run) -> ModelDescription:
    """What a run says of its model."""
    return ModelDescription(
        kind="run",
        source=str(folder),
        name=run.name,
        version=None,
        classes=tuple(run.classes),
        temperature=run.temperature,
        unsure_score=_score(run.unsure_score),
        unsure_threshold=run.unsure_threshold,
        data=run.data,
        git_sha=run.git_sha,
    )


def described_by_card(
    card: Mapping[str, Any],
    kind: Kind,
    source: str,
    classes: tuple[str, ...],
    remarks: tuple[str, ...] = (),
) -> ModelDescription:
    """What a model card says; that of a gateway leaves much out.

    Raises:
        EvaluationError: it names an unknown unsure score.
    """
    return ModelDescription(
        kind=kind,
        source=source,
        name=card["name"],
        version=card["version"],
        classes=classes,
        temperature=card.get("temperature"),
        unsure_score=_score(card["unsure_score"]) if "unsure_score" in card else None,
        unsure_threshold=card["unsure_threshold"],
        data=card.get("data", {}),
        git_sha=card.get("git_sha"),
        has_logits=kind != "service",
        remarks=remarks,
    )


def _score(name: str) -> UnsureScore:
    for score in get_args(UnsureScore):
        if name == score:
            known: UnsureScore = score
            return known
    raise EvaluationError(f"unsure_score: {name!r} is not allowed; {get_args(UnsureScore)} are")


def _differing_handlers(folder: Path) -> tuple[str, ...]:
    """A remark where the archive's handlers, which a worker runs, are not this checkout's."""
    ours = {path.name: path.read_bytes() for path in Path(handlers.__file__).parent.glob("*.py")}
    theirs = {path.name: path.read_bytes() for path in folder.glob("*.py")}
    names = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    if not names:
        return ()
    return (
        "A worker runs the archive's own handlers, which differ from those used here in "
        f"{', '.join(names)}.",
    )
