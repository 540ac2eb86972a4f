from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.bundle import Bundle, UnsureScore, load_bundle
from handlers.predictions import (
    Timing,
    are_unsure,
    is_unsure,
    probabilities,
    result,
    sureness,
    top_classes,
)

TIMING = Timing(decode=1.234, inference=5.678)
EQUAL = torch.full((6,), 1 / 6, dtype=torch.float64)
LOGITS = st.lists(st.floats(-80, 80, width=32), min_size=2, max_size=70).map(torch.tensor)


@pytest.fixture(scope="module")
def bundle(sealed_model_dir: Path) -> Bundle:
    return load_bundle(sealed_model_dir)


@settings(deadline=None)
@given(LOGITS, st.floats(0.05, 20))
def test_probabilities_are_torch_s_softmax_and_sum_to_one(
    logits: torch.Tensor, temperature: float
) -> None:
    ours = probabilities(logits, temperature)
    assert abs(float(ours.sum()) - 1) < 1e-12
    theirs = torch.softmax(logits / temperature, 0)
    torch.testing.assert_close(ours.float(), theirs, atol=1e-4, rtol=0)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.5]), min_size=1, max_size=40))
def test_best_first_and_of_equals_the_lower_id(values: list[float]) -> None:
    order = top_classes(torch.tensor(values), len(values))
    assert order == sorted(range(len(values)), key=lambda i: (-values[i], i))
    assert top_classes(torch.tensor(values), 1) == order[:1]


@settings(deadline=None)
@given(LOGITS, st.floats(0.05, 20))
def test_scores_are_the_best_probability_the_largest_logit_and_the_negative_energy(
    logits: torch.Tensor, temperature: float
) -> None:
    values = logits.tolist()
    largest = max(values)
    energy = largest + math.log(math.fsum(math.exp(value - largest) for value in values))
    best = 1 / math.fsum(math.exp((value - largest) / temperature) for value in values)
    expected = {"probability": best, "max-logit": largest, "energy": energy}
    assert set(expected) == set(get_args(UnsureScore))
    for score in get_args(UnsureScore):
        alone = sureness(logits, temperature, score)
        together = sureness(torch.stack([logits, logits]), temperature, score)
        assert float(alone) == pytest.approx(expected[score], rel=1e-9, abs=1e-9)
        torch.testing.assert_close(together, alone.expand(2))


def test_result(bundle: Bundle) -> None:
    probability = torch.tensor([0.1, 0.5, 0.05, 0.2, 0.1, 0.05], dtype=torch.float64)
    assert result(bundle, probability, False, 3, TIMING, "predictions") == {
        "model": "tiny",
        "version": "1.2",
        "predictions": [
            {"breed": "Bengal", "class_id": 1, "probability": 0.5},
            {"breed": "Maine Coon", "class_id": 3, "probability": 0.2},
            {"breed": "Abyssinian", "class_id": 0, "probability": 0.1},
        ],
        "unsure": False,
        "timing_ms": {"decode": 1.23, "inference": 5.68},
    }


def test_labels_are_torchserve_s_own_answer(bundle: Bundle) -> None:
    probability = torch.tensor([0.1, 0.5, 0.05, 0.2, 0.1, 0.05], dtype=torch.float64)
    answer = result(bundle, probability, False, 2, TIMING, "labels")
    assert list(answer.items()) == [("Bengal", 0.5), ("Maine Coon", 0.2)]


def test_listed_probabilities_of_all_classes_sum_to_one(bundle: Bundle) -> None:
    answer = result(bundle, EQUAL, False, 6, TIMING, "predictions")
    total = sum(entry["probability"] for entry in answer["predictions"])
    assert total == pytest.approx(1, abs=1e-5)


def test_the_answer_says_that_it_is_unsure(bundle: Bundle) -> None:
    assert result(bundle, EQUAL, True, 1, TIMING, "predictions")["unsure"] is True
    assert result(bundle, EQUAL, False, 1, TIMING, "predictions")["unsure"] is False


@pytest.mark.parametrize(
    ("score", "threshold", "sure", "unsure"),
    [
        # At the card's temperature, 1.5, these are probabilities of 0.5 and a little less.
        ("probability", 0.5, [3.0, 3.0], [3.0, 2.99, 0.0]),
        ("max-logit", 3.0, [3.0, 3.0], [2.99, -9.0]),
        ("energy", 3.0, [2.5, 2.5], [2.9, -9.0]),
        ("max-logit", -2.0, [-2.0, -9.0], [-2.1, -9.0]),
    ],
)
def test_unsure_below_the_threshold_of_the_score_that_the_card_names(
    bundle: Bundle, score: str, threshold: float, sure: list[float], unsure: list[float]
) -> None:
    assert bundle.temperature == 1.5
    card = {**bundle.card, "unsure_score": score, "unsure_threshold": threshold}
    bundle = dataclasses.replace(bundle, card=card)
    assert not is_unsure(bundle, torch.tensor(sure))
    assert is_unsure(bundle, torch.tensor(unsure))
    # Evaluation asks of many at once by the same rule.
    for logits, expected in ((sure, False), (unsure, True)):
        both = torch.tensor([logits, logits])
        found = are_unsure(both, 1.5, bundle.unsure_score, threshold)
        assert found.tolist() == [expected, expected]
