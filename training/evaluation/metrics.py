"""How good answers are. Pure functions of answers and labels.

A class that no evaluated photo shows has no recall, so that means over classes (macro-F1, balanced
accuracy) are over the classes shown. Answers of a class not shown count all the same, as mistakes
about the photo's own class.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import (
    confusion_matrix,
    precision_recall_fscore_support,
)
from torch import Tensor

BINS = 15
_RESAMPLES = 2000

Integers = npt.NDArray[np.int64]


def answers_of(logits: Tensor) -> Integers:
    """Each photo's best class, int64 (N,); of equals the lower id, as the worker answers."""
    best: Integers = logits.numpy().argmax(axis=1).astype(np.int64)
    return best


def right_answers(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether each photo's best class is its own, bool (N,)."""
    return torch.from_numpy(answers_of(logits)) == labels


def top_k_accuracy(logits: Tensor, labels: Tensor, k: int) -> float:
    """Share of photos whose class is among the k best, in 0..1.

    Args:
        logits: float (N, classes), or anything that rises with them; of equals the lower class id
            is better.
        labels: int64 (N,).
        k: where there are fewer classes, all are looked at.
    """
    order = np.argsort(-logits.numpy(), axis=1, kind="stable")[:, :k]
    return float((order == labels.numpy()[:, None]).any(axis=1).mean())


@dataclass(frozen=True)
class ClassFigures:
    """One class.

    Attributes:
        precision: share of right answers among those that name it; None where none does.
        recall: share of its photos that are answered with it; None where there is no photo.
        f1: harmonic mean of the two; 0 where no answer is right, None where there is no photo.
        support: how many photos show it.
        answered: how many answers name it.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    answered: int


def per_class(answers: Integers, labels: Tensor, classes: int) -> tuple[ClassFigures, ...]:
    """Figures of each class id; answers and labels int64 (N,)."""
    precision, recall, f1, support = precision_recall_fscore_support(
        labels.numpy(), answers, labels=np.arange(classes), zero_division=0
    )
    answered = np.bincount(answers, minlength=classes)
    return tuple(
        ClassFigures(
            precision=float(precision[i]) if answered[i] else None,
            recall=float(recall[i]) if support[i] else None,
            f1=float(f1[i]) if support[i] else None,
            support=int(support[i]),
            answered=int(answered[i]),
        )
        for i in range(classes)
    )


def macro_f1(figures: Sequence[ClassFigures]) -> float:
    """Mean F1 of the classes shown."""
    return float(np.mean([each.f1 for each in figures if each.f1 is not None]))


def balanced_accuracy(figures: Sequence[ClassFigures]) -> float:
    """Mean recall of the classes shown."""
    return float(np.mean([each.recall for each in figures if each.recall is not None]))


def confusion(answers: Integers, labels: Tensor, classes: int) -> Integers:
    """Photos by (class, answer), int64 (classes, classes)."""
    matrix: Integers = confusion_matrix(labels.numpy(), answers, labels=np.arange(classes))
    return matrix


@dataclass(frozen=True)
class Confused:
    """So many photos of class `label` were answered with class `answer`."""

    label: int
    answer: int
    photos: int


def most_confused(matrix: Integers, count: int) -> tuple[Confused, ...]:
    """The commonest mistakes, most photos first; of equals the lower ids."""
    mistakes = [
        Confused(int(label), int(answer), int(matrix[label, answer]))
        for label, answer in np.argwhere(matrix > 0)
        if label != answer
    ]
    return tuple(sorted(mistakes, key=lambda each: -each.photos)[:count])


@dataclass(frozen=True)
class Bin:
    """Photos whose best probability lies in (low, high].

    Attributes:
        confidence: mean best probability; None without photos, as is `accuracy`.
        accuracy: share of right answers.
    """

    low: float
    high: float
    photos: int
    confidence: float | None
    accuracy: float | None


def reliability(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> tuple[Bin, ...]:
    """What best probabilities promise and what they keep, in bins of equal width.

    Args:
        probabilities: float (N, classes).
        labels: int64 (N,).
    """
    values = probabilities.double().numpy()
    best = values.max(axis=1)
    right = values.argmax(axis=1) == labels.numpy()
    edges = np.linspace(0, 1, bins + 1)
    place = np.digitize(best, edges[1:-1], right=True)
    made = []
    for number in range(bins):
        inside = place == number
        photos = int(inside.sum())
        made.append(
            Bin(
                low=float(edges[number]),
                high=float(edges[number + 1]),
                photos=photos,
                confidence=float(best[inside].mean()) if photos else None,
                accuracy=float(right[inside].mean()) if photos else None,
            )
        )
    return tuple(made)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599), in 0..1.

    The mean distance between confidence and accuracy, each bin weighted by its photos.
    """
    total = sum(each.photos for each in bins)
    return sum(
        each.photos / total * abs(each.confidence - each.accuracy)
        for each in bins
        if each.confidence is not None and each.accuracy is not None
    )


def accuracy_interval(
    right: npt.NDArray[np.bool_], groups: Sequence[Hashable], seed: int = 0
) -> tuple[float, float]:
    """A 95% interval of the share of right answers: the percentile bootstrap, or Wilson's.

    Whole groups are drawn anew: photos of one animal are no independent witnesses.

    Args:
        right: bool (N,).
        groups: what each photo shows, such as the animal's id.
        seed: the same one gives the same interval.
    """
    numbers: dict[Hashable, int] = {}
    place = [numbers.setdefault(group, len(numbers)) for group in groups]
    photos = np.bincount(place).astype(np.int64)
    hits = np.bincount(place, weights=right).astype(np.int64)
    generator = np.random.default_rng(seed)
    shares = np.empty(_RESAMPLES)
    for number in range(_RESAMPLES):
        drawn = generator.integers(len(photos), size=len(photos))
        shares[number] = hits[drawn].sum() / photos[drawn].sum()
    low, high = (float(each) for each in np.quantile(shares, (0.025, 0.975)))
    if low == high:
        # All the same, or a single group: drawing anew finds no doubt where there is most.
        return _wilson(float(right.mean()), len(photos))
    return low, high


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson 1927, the score interval of a share among so many, at 95%."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = z / (1 + z * z / count)
    spread *= math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - spread), min(1.0, middle + spread)
