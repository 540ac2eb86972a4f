"""Judge a model by photos with known classes:

    catbreeds evaluate runs/cats --data photos --outside not_cats

The same photos give the same figures whether a run, its archive or the service answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor

from handlers.bundle import UnsureScore
from handlers.predictions import probabilities, sureness
from training.data.dataset import Photo
from training.evaluation import calibration, metrics
from training.evaluation.figures import (
    Calibration,
    ConfusedPair,
    EvaluatedData,
    EvaluatedModel,
    Evaluation,
    Headline,
    Outside,
    Unsure,
)
from training.evaluation.predictor import Answered, EvaluationError, ModelDescription, Predictor
from training.evaluation.report import write_report
from training.evaluation.selection import Selection, select
from training.progress import progress_bar

_PAIRS = 10
_EXAMPLES = 4
# Encoded photos that are in memory at once.
_FILES_AT_ONCE = 64


def evaluate(
    predictor: Predictor,
    data: Path,
    out: Path,
    part: str = "test",
    outside: Path | None = None,
    layout: str | None = None,
) -> Evaluation:
    """Judge a model and write `evaluation.json` and `evaluation.html` to `out`.

    Args:
        data: photos in one of the layouts of `training.data`, the one of the training unless
            `layout` names another.
        out: made if missing.
        part: "test" becomes "validation" where the run has no test photos, which is said.
        outside: a folder with photos of none of the classes, in any order.

    Raises:
        EvaluationError: the part cannot be told, or no photo can be answered.
        DatasetError: `data` does not hold the layout.
        OSError: nothing can be written.
    """
    chosen = select(predictor.model, data, part, layout)
    strangers = _files_below(outside) if outside else []
    with progress_bar() as progress:
        paths = [photo.path for photo in chosen.photos]
        known = _ask(predictor, data, paths, progress, "evaluating")
        unknown = _ask(predictor, outside, strangers, progress, "outside") if outside else None
    found = _found(predictor.model, data, chosen, known, outside, unknown)
    write_report(found, out, data)
    return found


@dataclass(frozen=True)
class _Answers:
    """What came back.

    Attributes:
        logits: float32 (answered, classes).
        sure: bool (answered,).
        places: which of the photos are answered.
        refused: path -> why.
    """

    logits: Tensor
    sure: Tensor
    places: list[int]
    refused: dict[str, str]


def _ask(
    predictor: Predictor, folder: Path, paths: Sequence[str], progress: Progress, task_name: str
) -> _Answers:
    """Memory holds the files of one batch, and the logits of all.

    Raises:
        EvaluationError: no photo was answered.
    """
    logits: list[Tensor] = []
    unsure: list[bool] = []
    places: list[int] = []
    refused: dict[str, str] = {}
    task = progress.add_task(task_name, total=len(paths))
    for start in range(0, len(paths), _FILES_AT_ONCE):
        batch: dict[int, bytes] = {}
        for place in range(start, min(start + _FILES_AT_ONCE, len(paths))):
            try:
                batch[place] = (folder / paths[place]).read_bytes()
            except OSError as error:
                refused[paths[place]] = error.strerror or type(error).__name__
        answers = predictor.predict(list(batch.values()))
        for place, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Answered):
                logits.append(answer.logits)
                unsure.append(answer.unsure)
                places.append(place)
            else:
                refused[paths[place]] = answer.why
        progress.advance(task, min(_FILES_AT_ONCE, len(paths) - start))
    if not logits:
        reason = next(iter(refused.values()), "it is empty")
        raise EvaluationError(f"{folder}: none of {len(paths)} photos was answered: {reason}")
    return _Answers(torch.stack(logits), ~torch.tensor(unsure), places, refused)


def _found(
    model: ModelDescription,
    data: Path,
    chosen: Selection,
    known: _Answers,
    outside: Path | None,
    unknown: _Answers | None,
) -> Evaluation:
    photos = [chosen.photos[place] for place in known.places]
    labels = torch.tensor([chosen.class_ids[photo.label] for photo in photos])
    answers = metrics.answers_of(known.logits)
    by_class = metrics.per_class(answers, labels, len(model.classes))
    confusion = metrics.confusion(answers, labels, len(model.classes))
    right = metrics.right_answers(known.logits, labels)
    probability = probabilities(known.logits, model.divisor)
    return Evaluation(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        model=EvaluatedModel(
            kind=model.kind,
            source=model.source,
            name=model.name,
            version=model.version,
            git_sha=model.git_sha,
            classes=model.classes,
        ),
        data=EvaluatedData(
            folder=str(data),
            layout=chosen.layout,
            part=chosen.part,
            photos=len(photos),
            not_answered=dict(sorted({**chosen.undecodable, **known.refused}.items())),
            split_hash=chosen.split_hash,
            card_split_hash=model.data.get("split_hash"),
        ),
        remarks=(*chosen.remarks, *model.remarks),
        headline=Headline(
            top1=float(right.double().mean()),
            top1_interval=metrics.accuracy_interval(
                right.numpy(), [photo.group for photo in photos]
            ),
            top5=metrics.top_k_accuracy(known.logits, labels, 5),
            macro_f1=metrics.macro_f1(by_class),
            balanced_accuracy=metrics.balanced_accuracy(by_class),
            majority_baseline=chosen.dataset.majority_baseline(photos),
        ),
        calibration=_calibration(model, known.logits, probability, labels),
        unsure=_unsure(model, known, right),
        outside=_outside(model, outside, known, labels, unknown) if outside and unknown else None,
        pairs=_pairs(model.classes, confusion, answers.tolist(), labels, photos, probability),
        classes=by_class,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def _calibration(
    model: ModelDescription, logits: Tensor, probability: Tensor, labels: Tensor
) -> Calibration:
    after = metrics.reliability(probability, labels)
    before = None
    if model.has_logits:
        before = metrics.reliability(probabilities(logits, 1.0), labels)
    return Calibration(
        temperature=model.temperature,
        error_before=metrics.calibration_error(before) if before else None,
        error_after=metrics.calibration_error(after),
        before=before,
        after=after,
    )


def _unsure(model: ModelDescription, known: _Answers, right: Tensor) -> Unsure:
    score: UnsureScore = model.unsure_score or "probability"
    if not model.has_logits:
        score = "probability"
    scores = sureness(known.logits, model.divisor, score)
    return Unsure(
        score=model.unsure_score,
        threshold=model.unsure_threshold,
        bought=calibration.what_it_buys(known.sure, right),
        curve_of=score,
        curve=calibration.selective_curve(scores, right),
    )


def _outside(
    model: ModelDescription, folder: Path, known: _Answers, labels: Tensor, unknown: _Answers
) -> Outside:
    comparison = None
    if metrics.right_answers(known.logits, labels).any():
        comparison = calibration.compare_scores(
            known.logits,
            labels,
            unknown.logits,
            model.divisor,
            calibration.SCORES if model.has_logits else ("probability",),
        )
    return Outside(
        folder=str(folder),
        photos=len(unknown.places),
        not_answered=unknown.refused,
        unsure=float((~unknown.sure).double().mean()),
        comparison=comparison,
    )


def _pairs(
    names: Sequence[str],
    confusion: metrics.Integers,
    answers: Sequence[int],
    labels: Tensor,
    photos: Sequence[Photo],
    probability: Tensor,
) -> tuple[ConfusedPair, ...]:
    confidence = probability.amax(dim=1).tolist()
    mistakes: dict[tuple[int, int], list[int]] = {}
    for place, pair in enumerate(zip(labels.tolist(), answers, strict=True)):
        mistakes.setdefault(pair, []).append(place)
    pairs = []
    for each in metrics.most_confused(confusion, _PAIRS):
        places = sorted(mistakes[each.label, each.answer], key=lambda place: -confidence[place])
        pairs.append(
            ConfusedPair(
                label=names[each.label],
                answer=names[each.answer],
                photos=each.photos,
                examples=tuple(photos[place].path for place in places[:_EXAMPLES]),
            )
        )
    return tuple(pairs)


def _files_below(folder: Path) -> list[str]:
    """Every file but hidden ones, sorted.

    Raises:
        EvaluationError: there is none.
    """
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    names = sorted(
        path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)
    )
    if not names:
        raise EvaluationError(f"{folder}: no photo there; a folder of photos is due")
    return names
