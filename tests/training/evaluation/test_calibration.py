from __future__ import annotations

import math
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from handlers.bundle import UnsureScore
from training.evaluation.calibration import (
    SCORES,
    Bought,
    compare_scores,
    fit_temperature,
    keeping_threshold,
    precise_threshold,
    selective_curve,
    unsure_threshold,
    what_it_buys,
)

SCORED = st.lists(
    st.tuples(st.sampled_from([-3.5, 0.0, 0.25, 1.0, 8.0, 40.0]), st.booleans()),
    min_size=1,
    max_size=40,
)


def tensors(photos: list[tuple[float, bool]]) -> tuple[Tensor, Tensor]:
    scores = torch.tensor([score for score, _ in photos], dtype=torch.float64)
    return scores, torch.tensor([right for _, right in photos])


@pytest.mark.parametrize("true_temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_the_answers_were_drawn_with_is_found(true_temperature: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(8_000, 5, generator=generator)
    drawn = (logits / true_temperature).softmax(dim=1)
    labels = torch.multinomial(drawn, 1, generator=generator).squeeze(1)
    assert fit_temperature(logits, labels) == pytest.approx(true_temperature, rel=0.08)


def test_the_fitted_temperature_beats_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(200, 7, generator=generator)
    labels = torch.randint(7, (200,), generator=generator)
    labels[:120] = logits[:120].argmax(dim=1)
    fitted = fit_temperature(logits, labels)
    loss = [float(F.cross_entropy(logits / (fitted * f), labels)) for f in (0.9, 1.0, 1.1)]
    assert loss[1] == min(loss)


@pytest.mark.parametrize("scale", [0.3, 5.0, 5000.0])
def test_answers_that_are_all_right_are_no_reason_to_be_surer(scale: float) -> None:
    """The likelihood alone has no end there: any stranger would be answered with nearly 100%."""
    assert fit_temperature(scale * torch.eye(4), torch.arange(4)) == 1.0


def test_one_wrong_answer_is_enough_to_fit_by() -> None:
    logits = 5 * torch.eye(4).repeat(30, 1)
    labels = torch.arange(4).repeat(30)
    labels[0] = 1
    fitted = fit_temperature(logits, labels)
    # Right as often as the softmax then promises: 119 of 120.
    promised = float((logits / fitted).softmax(dim=1).amax(dim=1)[0])
    assert promised == pytest.approx(119 / 120, abs=1e-3)
    assert 0.05 < fitted < 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_temperature_is_not_fitted_to_nothing(bad: float) -> None:
    logits = torch.eye(3)
    logits[1, 2] = bad
    for useless in (logits, torch.zeros(0, 3)):
        with pytest.raises(ValueError, match="finite logits of at least one photo"):
            fit_temperature(useless, torch.arange(len(useless)))


@pytest.mark.parametrize(
    ("best", "right", "precision", "threshold"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 1, 1], 0.95, 0.6),
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 0], 0.95, 0.8),
        # Going on below a mistake is right where the share recovers.
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1], 0.75, 0.6),
        # The two at 0.8 pass or fail together.
        ([0.9, 0.8, 0.8, 0.6], [1, 1, 0, 0], 0.95, 0.9),
        ([0.9, 0.8, 0.7, 0.6], [0, 0, 0, 0], 0.5, None),
    ],
)
def test_the_lowest_threshold_that_keeps_the_precision(
    best: list[float], right: list[int], precision: float, threshold: float | None
) -> None:
    scores = torch.tensor(best, dtype=torch.float64)
    assert precise_threshold(scores, torch.tensor(right).bool(), precision) == threshold


@settings(deadline=None)
@given(SCORED, st.sampled_from([0.5, 0.9, 0.95, 1.0]))
def test_thresholds_are_the_best_of_all_that_could_be_chosen(
    photos: list[tuple[float, bool]], share: float
) -> None:
    def shares(threshold: float) -> tuple[float, float]:
        above = [right for score, right in photos if score >= threshold]
        return sum(above) / len(above), sum(above) / max(1, sum(right for _, right in photos))

    scores, right = tensors(photos)
    candidates = sorted({score for score, _ in photos})
    precise = [each for each in candidates if shares(each)[0] >= share]
    assert precise_threshold(scores, right, share) == (precise[0] if precise else None)
    if any(right for _, right in photos):
        keeping = [each for each in candidates if shares(each)[1] >= share]
        # The highest score of a right answer, so that no score between two would do better.
        assert keeping_threshold(scores, right, share) == keeping[-1]
    else:
        with pytest.raises(ValueError, match="no answer is right"):
            keeping_threshold(scores, right, share)


def test_ninety_five_of_a_hundred_are_nineteen_of_twenty() -> None:
    scores = torch.arange(20, dtype=torch.float64)
    assert keeping_threshold(scores, torch.ones(20).bool(), 0.95) == 1


@settings(deadline=None)
@given(SCORED)
def test_each_point_of_the_curve_is_what_its_threshold_buys(
    photos: list[tuple[float, bool]],
) -> None:
    scores, right = tensors(photos)
    curve = selective_curve(scores, right)
    assert [point.threshold for point in curve] == sorted({s for s, _ in photos}, reverse=True)
    for point in curve:
        bought = what_it_buys(scores >= point.threshold, right)
        assert (point.answered, point.precision) == (bought.answered, bought.precision)
    assert curve[-1].answered == 1


def test_a_long_curve_is_thinned_and_ends_with_all_photos() -> None:
    curve = selective_curve(torch.arange(1003, dtype=torch.float64), torch.ones(1003).bool())
    assert 150 < len(curve) <= 200
    assert (curve[-1].threshold, curve[-1].answered) == (0, 1)


def test_what_it_buys_where_there_is_nothing() -> None:
    right = torch.tensor([True, True, False])
    assert what_it_buys(torch.tensor([True, False, True]), right) == Bought(2 / 3, 0.5, 0.5)
    assert what_it_buys(torch.zeros(3).bool(), right) == Bought(0, None, 0)
    assert what_it_buys(torch.ones(3).bool(), torch.zeros(3).bool()) == Bought(1, 0, None)


@pytest.mark.parametrize("score", SCORES)
def test_the_card_s_threshold_keeps_the_precision_by_each_score(score: UnsureScore) -> None:
    generator = torch.Generator().manual_seed(4)
    labels = torch.randint(5, (500,), generator=generator)
    logits = torch.randn(500, 5, generator=generator)
    logits[torch.arange(500), labels] += 2
    threshold = unsure_threshold(logits, labels, 1.3, score, 0.9)
    largest = logits.max(dim=1).values
    by_score = {
        "probability": (logits / 1.3).softmax(dim=1).max(dim=1).values,
        "max-logit": largest,
        "energy": logits.exp().sum(dim=1).log(),
    }[score]
    sure = by_score >= threshold - 1e-6
    precision = float((logits.argmax(dim=1) == labels)[sure].float().mean())
    assert 0.9 <= precision < 0.95
    assert 0.2 < float(sure.float().mean()) < 1
    wrong = (logits.argmin(dim=1)).clone()
    none = unsure_threshold(logits, wrong, 1.3, score, 0.9)
    assert none == (math.nextafter(1, 2) if score == "probability" else sys.float_info.max)


def test_the_score_that_tells_strangers_best_wins() -> None:
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(6, (400,), generator=generator)
    known = 0.5 * torch.randn(400, 6, generator=generator)
    known[torch.arange(400), labels] += 6
    # As peaked as the others, but of small logits: only their size gives these away.
    outside = 0.5 * torch.randn(300, 6, generator=generator) - 6
    outside[:, 2] += 6
    found = compare_scores(known, labels, outside)
    by_score = {each.score: each for each in found.scores}
    assert set(by_score) == set(SCORES)
    assert found.best == "max-logit"
    assert by_score["max-logit"].outside_unsure > 0.99
    assert by_score["max-logit"].auroc > 0.99
    assert by_score["probability"].outside_unsure < 0.2
    assert by_score["probability"].auroc == pytest.approx(0.5, abs=0.1)
    assert all(each.kept == pytest.approx(0.95, abs=0.01) for each in found.scores)
    alone = compare_scores(known, labels, outside, 1.0, ("probability",))
    assert (alone.scores, alone.best) == ((by_score["probability"],), "probability")


def test_a_comparison_needs_right_answers() -> None:
    logits = torch.eye(3)
    with pytest.raises(ValueError, match="no answer is right"):
        compare_scores(logits, torch.tensor([1, 2, 0]), logits)
