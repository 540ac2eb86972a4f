"""Against the plainest way to compute each figure."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.evaluation.metrics import (
    Confused,
    accuracy_interval,
    answers_of,
    balanced_accuracy,
    calibration_error,
    confusion,
    macro_f1,
    most_confused,
    per_class,
    reliability,
    right_answers,
    top_k_accuracy,
)

CLASSES = 4


@st.composite
def answered(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits with ties, of up to 30 photos; some classes may be neither shown nor answered."""
    count = draw(st.integers(1, 30))
    values = st.sampled_from([-3.0, 0.0, 0.5, 1.0, 7.25])
    row = st.lists(values, min_size=CLASSES, max_size=CLASSES)
    logits = draw(st.lists(row, min_size=count, max_size=count))
    labels = draw(st.lists(st.integers(0, CLASSES - 1), min_size=count, max_size=count))
    return torch.tensor(logits), torch.tensor(labels)


def best_of(row: list[float]) -> int:
    return row.index(max(row))


@settings(deadline=None)
@given(answered(), st.integers(1, 6))
def test_top_k(photos: tuple[Tensor, Tensor], k: int) -> None:
    logits, labels = photos
    hits = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        order = sorted(range(CLASSES), key=lambda i: (-row[i], i))
        hits += label in order[:k]
    assert top_k_accuracy(logits, labels, k) == pytest.approx(hits / len(labels))
    assert top_k_accuracy(logits, labels, 1) == float(right_answers(logits, labels).double().mean())
    assert answers_of(logits).tolist() == [best_of(row) for row in logits.tolist()]


@settings(deadline=None)
@given(answered())
def test_figures_of_each_class_and_their_means_over_the_classes_shown(
    photos: tuple[Tensor, Tensor],
) -> None:
    logits, labels = photos
    answers, truth = [best_of(row) for row in logits.tolist()], labels.tolist()
    pairs = Counter(zip(truth, answers, strict=True))
    figures = per_class(answers_of(logits), labels, CLASSES)
    recalls, f1s = [], []
    for number, found in enumerate(figures):
        right = pairs[number, number]
        shown, named = truth.count(number), answers.count(number)
        assert (found.support, found.answered) == (shown, named)
        assert found.precision == (pytest.approx(right / named) if named else None)
        assert found.recall == (pytest.approx(right / shown) if shown else None)
        assert found.f1 == (pytest.approx(2 * right / (shown + named)) if shown else None)
        if shown:
            recalls.append(right / shown)
            f1s.append(2 * right / (shown + named))
    assert balanced_accuracy(figures) == pytest.approx(sum(recalls) / len(recalls))
    assert macro_f1(figures) == pytest.approx(sum(f1s) / len(f1s))
    matrix = confusion(answers_of(logits), labels, CLASSES)
    assert {(i, j): matrix[i, j] for i in range(CLASSES) for j in range(CLASSES)} == {
        (i, j): pairs[i, j] for i in range(CLASSES) for j in range(CLASSES)
    }


def test_answers_of_a_class_that_is_not_shown_count_as_mistakes() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    figures = per_class(np.array([0, 2, 1, 1]), labels, 3)
    assert balanced_accuracy(figures) == 0.75
    assert macro_f1(figures) == pytest.approx((2 / 3 + 1) / 2)
    assert figures[2].precision == 0


def test_the_commonest_mistakes() -> None:
    matrix = np.array([[9, 2, 0], [3, 1, 2], [0, 0, 0]])
    expected = (Confused(1, 0, 3), Confused(0, 1, 2), Confused(1, 2, 2))
    assert most_confused(matrix, 10) == expected
    assert most_confused(matrix, 2) == expected[:2]
    assert most_confused(np.eye(3, dtype=np.int64), 5) == ()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(500, 1000), st.booleans()), min_size=1, max_size=40))
def test_calibration_error_is_that_of_fifteen_bins(photos: list[tuple[int, bool]]) -> None:
    best = [thousandths / 1000 for thousandths, _ in photos]
    probabilities = torch.tensor([[p, 1 - p] for p in best], dtype=torch.float64)
    labels = torch.tensor([0 if right else 1 for _, right in photos])
    edges = [i / 15 for i in range(16)]
    expected = 0.0
    for low, high in pairwise(edges):
        inside = [(p, right) for p, (_, right) in zip(best, photos, strict=True) if low < p <= high]
        if inside:
            confidence = sum(p for p, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            expected += len(inside) / len(best) * abs(confidence - accuracy)
    bins = reliability(probabilities, labels)
    assert len(bins) == 15
    assert sum(each.photos for each in bins) == len(best)
    assert calibration_error(bins) == pytest.approx(expected, abs=1e-12)


def test_bins_hold_what_they_promise_and_keep() -> None:
    probabilities = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.55, 0.45]], dtype=torch.float64)
    bins = reliability(probabilities, torch.tensor([0, 1, 0]), bins=10)
    assert (bins[9].photos, bins[9].confidence, bins[9].accuracy) == (2, 1.0, 0.5)
    assert (bins[5].photos, bins[5].accuracy) == (1, 1.0)
    assert bins[5].confidence == pytest.approx(0.55)
    assert (bins[0].photos, bins[0].confidence, bins[0].accuracy) == (0, None, None)


def test_the_interval_holds_the_accuracy_and_is_as_wide_as_theory_says() -> None:
    generator = np.random.default_rng(3)
    right = generator.random(400) < 0.7
    low, high = accuracy_interval(right, range(400))
    accuracy = right.mean()
    expected = 1.96 * math.sqrt(accuracy * (1 - accuracy) / 400)
    assert high - accuracy == pytest.approx(expected, rel=0.15)
    assert accuracy - low == pytest.approx(expected, rel=0.15)
    assert accuracy_interval(right, range(400)) == (low, high)
    assert accuracy_interval(right, range(400), seed=1) != (low, high)


def test_photos_of_one_animal_widen_the_interval() -> None:
    right = np.repeat(np.random.default_rng(3).random(100) < 0.7, 4)
    low, high = accuracy_interval(right, range(400))
    animals = [f"cat {number // 4}" for number in range(400)]
    wide_low, wide_high = accuracy_interval(right, animals)
    assert wide_high - wide_low == pytest.approx(2 * (high - low), rel=0.2)
