"""From answers to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from handlers.bundle import UnsureScore
from handlers.predictions import probabilities, sureness
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
from training.evaluation.names import distinct_names, without_surrogates
from training.evaluation.predictor import ModelDescription
from training.evaluation.selection import Selection

_PAIRS = 10
_EXAMPLES = 4


@dataclass(frozen=True)
class Answers:
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


def found_of(
    model: ModelDescription,
    data: Path,
    chosen: Selection,
    known: Answers,
    shown: Mapping[str, str],
    outside: Path | None = None,
    unknown: Answers | None = None,
) -> Evaluation:
    """All that the report shows.

    Args:
        known, unknown: answers to the photos chosen, and to those outside.
        shown: path below `data` -> how it is shown, of all photos chosen and of those undecodable.
    """
    names = tuple(map(without_surrogates, model.classes))
    not_answered = {**chosen.undecodable, **known.refused}
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
            source=without_surrogates(model.source),
            name=without_surrogates(model.name),
            version=model.version,
            git_sha=model.git_sha,
            classes=names,
        ),
        data=EvaluatedData(
            folder=without_surrogates(str(data)),
            layout=chosen.layout,
            part=chosen.part,
            photos=len(photos),
            not_answered={
                shown[path]: without_surrogates(why) for path, why in sorted(not_answered.items())
            },
            split_hash=chosen.split_hash,
            card_split_hash=model.data.get("split_hash"),
            chose_precision=chosen.chose_precision,
        ),
        remarks=tuple(map(without_surrogates, (*chosen.remarks, *model.remarks))),
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
        pairs=_pairs(
            names,
            confusion,
            answers.tolist(),
            labels,
            [shown[photo.path] for photo in photos],
            probability,
        ),
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


def _unsure(model: ModelDescription, known: Answers, right: Tensor) -> Unsure:
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
        sure_precision=model.sure_precision,
    )


def _outside(
    model: ModelDescription, folder: Path, known: Answers, labels: Tensor, unknown: Answers
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
    shown = distinct_names(unknown.refused)
    return Outside(
        folder=without_surrogates(str(folder)),
        photos=len(unknown.places),
        not_answered={
            shown[path]: without_surrogates(why) for path, why in unknown.refused.items()
        },
        unsure=float((~unknown.sure).double().mean()),
        comparison=comparison,
    )


def _pairs(
    names: Sequence[str],
    confusion: metrics.Integers,
    answers: Sequence[int],
    labels: Tensor,
    paths: Sequence[str],
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
                examples=tuple(paths[place] for place in places[:_EXAMPLES]),
            )
        )
    return tuple(pairs)
