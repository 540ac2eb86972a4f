from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handlers.bundle import UnsureScore
from handlers.expected import BOUNDS
from handlers.predictions import probabilities, sureness, top_classes
from training.evaluation.calibration import SCORES
from training.evaluation.expected import expected_answers

NAMES = ("Bengal", "Siamese", "Sphynx")
LOGITS = st.lists(
    st.lists(st.floats(-30, 30, width=32), min_size=len(NAMES), max_size=len(NAMES)),
    min_size=1,
    max_size=12,
)


@given(LOGITS, st.floats(0.05, 20), st.sampled_from(SCORES), st.floats(-1, 40))
def test_they_are_what_a_worker_would_count(
    rows: list[list[float]], temperature: float, score: UnsureScore, threshold: float
) -> None:
    logits = torch.tensor(rows)
    expected = expected_answers(logits, NAMES, temperature, score, threshold, "test")
    assert expected is not None
    assert (expected.photos, expected.part) == (len(rows), "test")
    counted = dict.fromkeys(NAMES, 0)
    reached = dict.fromkeys(BOUNDS, 0)
    unsure = 0
    for row in logits:
        probability = probabilities(row, temperature)
        best = top_classes(probability, 1)[0]
        counted[NAMES[best]] += 1
        for bound in BOUNDS:
            reached[bound] += round(float(probability[best]), 6) <= float(bound)
        unsure += float(sureness(row, temperature, score)) < threshold
    assert expected.predicted == {name: count / len(rows) for name, count in counted.items()}
    assert expected.top1_probability == {
        bound: count / len(rows) for bound, count in reached.items()
    }
    assert expected.unsure == unsure / len(rows)


def test_a_probability_on_a_bound_counts_as_in_prometheus() -> None:
    expected = expected_answers(
        torch.tensor([[0.0, 0.0], [0.0, 0.0], [9.0, -90.0], [0.0, 1e-9]]),
        NAMES[:2],
        1.0,
        "probability",
        0.5,
        "validation",
    )
    assert expected is not None
    reached = expected.top1_probability
    assert [reached[bound] for bound in ("0.25", "0.5", "0.75", "1.0")] == [0, 0.75, 0.75, 1]
    assert expected.unsure == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_photos_that_a_worker_fails_on_are_left_out(bad: float) -> None:
    logits = torch.tensor([[bad, 1.0, 0.0], [0.0, 4.0, 0.0]])
    expected = expected_answers(logits, NAMES, 1.0, "probability", 0.5, "test")
    assert expected is not None
    assert (expected.photos, expected.predicted["Siamese"]) == (1, 1.0)
    assert expected_answers(logits[:1], NAMES, 1.0, "probability", 0.5, "test") is None
