"""The same answers from three sources: a run folder, an archive, a running service."""

from __future__ import annotations

import math
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
from handlers.predictions import DIGITS, are_unsure
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
# Answers are rounded; a probability that has become 0 is taken for this one.
_LEAST_PROBABILITY = 10.0 ** -(DIGITS + 1)
_ASKED_AT_ONCE = 8


class LocalPredictor:
    """A network in this process.

    Args:
        model: `has_logits`, and its unsure score is known.
        limits: of the photos' bytes, pixels and frames; a photo beyond them is refused.
        logits: float32 (N, 3, height, width) -> float32 (N, classes).

    Raises:
        EvaluationError: the model does not name its unsure score.
    """

    def __init__(
        self,
        model: ModelDescription,
        preprocessing: Preprocessing,
        limits: Limits,
        logits: Callable[[Tensor], Tensor],
    ) -> None:
        if model.unsure_score is None:
            raise EvaluationError(f"{model.source}: does not name its unsure_score")
        self.model = model
        self._score: UnsureScore = model.unsure_score
        self._preprocessing = preprocessing
        self._limits = limits
        self._logits = logits
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
        threshold = self.model.unsure_threshold
        unsure = are_unsure(logits, self.model.divisor, self._score, threshold).tolist()
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

    return LocalPredictor(described_by_run(folder, run), run.preprocessing, Limits(), logits)


def from_archive(path: Path) -> LocalPredictor:
    """The archive's network in the engine and precision that a worker without a GPU would choose.

    One with a GPU computes on that, in bf16 where the card vouches for it: ask the service itself
    to have its figures. The archive's architecture.py is run, so it is verified first; its handlers
    are not: those of this checkout take their place.

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
    return LocalPredictor(model, bundle.preprocessing, config.limits, engine.logits)


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
        # The network's own logits would be these times the temperature only as far as the digits
        # go: of the small probabilities, a temperature below 1 would make far too much.
        logits = torch.full((len(self.model.classes),), float("nan"))
        before = torch.tensor(math.inf)
        for class_id, probability in _best_first(answer["predictions"]):
            value = torch.tensor(max(probability, _LEAST_PROBABILITY)).log()
            # Of equals the network has put the first listed first, by digits that are not told.
            before = torch.minimum(value, torch.nextafter(before, torch.tensor(-math.inf)))
            logits[class_id] = before
        if logits.isnan().any():
            raise EvaluationError(
                f"{self.model.source}: answers {len(answer['predictions'])} of "
                f"{len(self.model.classes)} classes; all are needed"
            )
        return Answered(logits, bool(answer["unsure"]))


def _best_first(predictions: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """(class id, probability) as they are listed, which is best first."""
    listed = [(int(each["class_id"]), float(each["probability"])) for each in predictions]
    # Stable: what is equal stays as it is listed.
    return sorted(listed, key=lambda each: -each[1])


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
        remarks=tuple(run.data.get("remarks", ())),
        sure_precision=run.sure_precision,
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
    data = card.get("data", {})
    return ModelDescription(
        kind=kind,
        source=source,
        name=card["name"],
        version=card["version"],
        classes=classes,
        temperature=card.get("temperature"),
        unsure_score=_score(card["unsure_score"]) if "unsure_score" in card else None,
        unsure_threshold=card["unsure_threshold"],
        data=data,
        git_sha=card.get("git_sha"),
        has_logits=kind != "service",
        remarks=(*data.get("remarks", ()), *remarks),
        sure_precision=card.get("sure_precision"),
        precisions_by=frozenset(
            str(each["part"]) for each in card.get("precisions", {}).values() if "part" in each
        ),
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
