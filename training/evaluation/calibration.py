"""Probabilities that mean what they say, and the line below which an answer is unsure."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import get_args

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from handlers.bundle import UnsureScore
from handlers.predictions import sureness
from training.evaluation.metrics import right_answers

SCORES: tuple[UnsureScore, ...] = get_args(UnsureScore)
_COLDEST, _HOTTEST = 0.05, 20.0
_ROUNDS = 60
_MOST_POINTS = 200
# Of the right answers: what `compare_scores` lets through, as is usual in the literature.
KEPT = 0.95


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature with the least cross-entropy (Guo et al. 2017, https://arxiv.org/abs/1706.04599).

    Where every answer is right there is no least: the colder, the better, as nothing tells how sure
    would be too sure (Albert and Anderson 1984, https://doi.org/10.1093/biomet/71.1.1: completely
    separated data have no estimate of the greatest likelihood). Even a photo of none of the classes
    would then be answered with nearly 100%. The logits stay as training left them.

    Args:
        logits: finite float (N, classes) of held-out photos, N at least 1.
        labels: int64 (N,).

    Returns:
        A number between 0.05 and 20, by which the logits are divided before the softmax; 1 where no
        answer is wrong.

    Raises:
        ValueError: no photo, or logits that are not finite.
    """
    if not len(logits) or not logits.isfinite().all():
        raise ValueError("finite logits of at least one photo are needed to fit a temperature")
    if right_answers(logits, labels).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = logits.double() / math.exp(log_temperature)
        return float(F.cross_entropy(scaled, labels))

    # The loss is convex in 1/temperature, so it has one valley in log temperature as well, and
    # a ternary search finds its floor.
    low, high = math.log(_COLDEST), math.log(_HOTTEST)
    for _ in range(_ROUNDS):
        third = (high - low) / 3
        if loss(low + third) < loss(high - third):
            high -= third
        else:
            low += third
    return math.exp((low + high) / 2)


def unsure_threshold(
    logits: Tensor, labels: Tensor, temperature: float, score: UnsureScore, precision: float
) -> float:
    """The lowest threshold whose answers are right often enough.

    Args:
        logits: float (N, classes) of held-out photos.
        labels: int64 (N,).
        precision: wanted share of right answers among those at or above the threshold, in 0..1.

    Returns:
        For the model card: a value of the score. Where no threshold reaches the precision it is one
        that no answer reaches: just above 1 for "probability", else the largest float.
    """
    right = right_answers(logits, labels)
    threshold = precise_threshold(sureness(logits, temperature, score), right, precision)
    if threshold is None:
        return math.nextafter(1, 2) if score == "probability" else sys.float_info.max
    return threshold


def precise_threshold(scores: Tensor, right: Tensor, precision: float) -> float | None:
    """The lowest score at or above which the share of right answers is at least `precision`.

    Args:
        scores: float64 (N,), the higher, the surer.
        right: bool (N,), whether each answer is right.

    Returns:
        One of the scores, or None where no threshold reaches the precision.
    """
    enough = [point for point in _all_points(scores, right) if point.precision >= precision]
    return enough[-1].threshold if enough else None


def keeping_threshold(scores: Tensor, right: Tensor, share: float = KEPT) -> float:
    """The highest score at or above which at least `share` of the right answers lie.

    Raises:
        ValueError: no answer is right.
    """
    sorted_scores = scores[right].sort(descending=True).values
    if not len(sorted_scores):
        raise ValueError("no answer is right: there is none to keep")
    # Less a hair: 0.95 * 20 must not become 20 of 20 by rounding.
    needed = math.ceil(share * len(sorted_scores) - 1e-9)
    return float(sorted_scores[max(needed, 1) - 1])


@dataclass(frozen=True)
class Bought:
    """What calling some answers unsure buys; shares in 0..1.

    Attributes:
        answered: of all photos, those that are not called unsure.
        precision: of the answered, those that are right; None where nothing is answered.
        kept: of the right answers, those that are not called unsure; None where nothing is right.
    """

    answered: float
    precision: float | None
    kept: float | None


def what_it_buys(sure: Tensor, right: Tensor) -> Bought:
    """Figures of a threshold; both bool (N,), N at least 1."""
    answered, all_right, both = (int(each.sum()) for each in (sure, right, sure & right))
    return Bought(
        answered=answered / len(right),
        precision=both / answered if answered else None,
        kept=both / all_right if all_right else None,
    )


@dataclass(frozen=True)
class CurvePoint:
    """One threshold: the share of photos at or above it, and of right answers among those."""

    threshold: float
    answered: float
    precision: float


def selective_curve(scores: Tensor, right: Tensor) -> tuple[CurvePoint, ...]:
    """What each threshold would buy, the strictest first; at most 200, the last answers all."""
    points = _all_points(scores, right)
    step = max(1, math.ceil(len(points) / _MOST_POINTS))
    return tuple(points[::-1][::step][::-1])


@dataclass(frozen=True)
class ScoreFigures:
    """How well one score tells photos of the classes from others.

    Attributes:
        threshold: the highest that keeps 95% of the right answers.
        kept: share of the right answers that it keeps.
        outside_unsure: share of the other photos that lie below it.
        auroc: chance that a photo of the classes has the higher score of the two; whether its
            answer is right does not matter here.
    """

    score: UnsureScore
    threshold: float
    kept: float
    outside_unsure: float
    auroc: float


@dataclass(frozen=True)
class ScoreComparison:
    """All scores on the same photos; the best calls most of the other photos unsure.

    Of equals it is the one with the larger area, then the first.
    """

    scores: tuple[ScoreFigures, ...]
    best: UnsureScore


def compare_scores(
    known_logits: Tensor,
    labels: Tensor,
    outside_logits: Tensor,
    temperature: float = 1.0,
    among: tuple[UnsureScore, ...] = SCORES,
) -> ScoreComparison:
    """Which score is best at telling photos of none of the classes.

    Args:
        known_logits: float (N, classes) of held-out photos.
        labels: int64 (N,).
        outside_logits: float (M, classes) of photos that show none of the classes, M at least 1.
        temperature: for "probability".

    Raises:
        ValueError: no answer to the known photos is right.
    """
    right = right_answers(known_logits, labels)
    figures = []
    for score in among:
        known = sureness(known_logits, temperature, score)
        outside = sureness(outside_logits, temperature, score)
        threshold = keeping_threshold(known, right)
        truth = torch.cat([torch.ones(len(known)), torch.zeros(len(outside))])
        figures.append(
            ScoreFigures(
                score=score,
                threshold=threshold,
                kept=float((known[right] >= threshold).double().mean()),
                outside_unsure=float((outside < threshold).double().mean()),
                auroc=float(roc_auc_score(truth, torch.cat([known, outside]))),
            )
        )
    best = max(figures, key=lambda each: (each.outside_unsure, each.auroc))
    return ScoreComparison(tuple(figures), best.score)


def _all_points(scores: Tensor, right: Tensor) -> list[CurvePoint]:
    """One for each distinct score: photos of the same score pass or fail together."""
    order = scores.argsort(descending=True)
    in_order = scores[order]
    right_so_far = right[order].double().cumsum(0)
    last_of_equals = torch.ones_like(in_order, dtype=torch.bool)
    last_of_equals[:-1] = in_order[:-1] != in_order[1:]
    return [
        CurvePoint(float(in_order[i]), (i + 1) / len(in_order), float(right_so_far[i]) / (i + 1))
        for i in last_of_equals.nonzero().flatten().tolist()
    ]
