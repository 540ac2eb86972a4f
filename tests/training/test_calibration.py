from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from training.calibration import fit_temperature, unsure_threshold


@pytest.mark.parametrize("true_temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_the_answers_were_drawn_with_is_found(true_temperature: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(20_000, 5, generator=generator)
    drawn = (logits / true_temperature).softmax(dim=1)
    labels = torch.multinomial(drawn, 1, generator=generator).squeeze(1)
    assert fit_temperature(logits, labels) == pytest.approx(true_temperature, rel=0.05)


def test_the_fitted_temperature_beats_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(200, 7, generator=generator)
    labels = torch.randint(7, (200,), generator=generator)
    labels[:120] = logits[:120].argmax(dim=1)
    fitted = fit_temperature(logits, labels)
    loss = [float(F.cross_entropy(logits / (fitted * f), labels)) for f in (0.9, 1.0, 1.1)]
    assert loss[1] == min(loss)


def test_perfect_answers_keep_the_temperature_in_its_range() -> None:
    logits = 5 * torch.eye(4)
    assert 0.05 <= fit_temperature(logits, torch.arange(4)) < 0.2


@pytest.mark.parametrize(
    ("best", "right", "precision", "threshold"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 1, 1], 0.95, 0.6),
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 0], 0.95, 0.8),
        # Going on below a mistake is right where the share recovers.
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1], 0.75, 0.6),
        # The two at 0.8 pass or fail together.
        ([0.9, 0.8, 0.8, 0.6], [1, 1, 0, 0], 0.95, 0.9),
        ([0.9, 0.8, 0.7, 0.6], [0, 0, 0, 0], 0.5, 1.0),
    ],
)
def test_the_lowest_threshold_that_keeps_the_precision(
    best: list[float], right: list[int], precision: float, threshold: float
) -> None:
    probabilities = torch.tensor([[p, 1 - p - 0.01] for p in best])
    probabilities[:, 1] = 0.01
    labels = torch.tensor([0 if r else 1 for r in right])
    assert unsure_threshold(probabilities, labels, precision) == pytest.approx(threshold)
