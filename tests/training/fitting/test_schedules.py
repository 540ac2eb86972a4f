from __future__ import annotations

from typing import Any

import pytest
import torch

from training.fitting.schedules import learning_rate, one_cycle, phase_steps
from training.spec import PhaseSpec


def phase(schedule: dict[str, Any], peak: float = 0.003, **length: int) -> PhaseSpec:
    return PhaseSpec.model_validate(
        {
            "train": "all",
            "learning_rate": peak,
            "optimiser": {"kind": "adam"},
            "schedule": schedule,
            **length,
        }
    )


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.0),
        (250, 0.0015),
        (500, 0.003),
        (3000, 0.003),  # the comparison is strict: the drop comes a step later
        (3001, 0.0003),
        (6001, 0.00003),
        (9001, 0.000003),
        (9999, 0.000003),
    ],
)
def test_hyperrule_for_the_flagship(step: int, rate: float) -> None:
    rule = phase({"kind": "hyperrule"})
    assert phase_steps(rule, 126_607, 198) == 10_000
    assert learning_rate(rule, step, 126_607, 198) == pytest.approx(rate)


def test_the_original_s_stairs() -> None:
    stairs = phase({"kind": "steps", "warmup": 100, "drops": [200, 300, 400]}, steps=500)
    found = [learning_rate(stairs, step, 0, 10) for step in (0, 50, 100, 201, 301, 401, 499)]
    assert found == pytest.approx([0, 0.0015, 0.003, 0.0003, 0.00003, 0.000003, 0.000003])


@pytest.mark.parametrize(("total", "warmup"), [(100, 0.2), (37, 0.3), (10, 0.5)])
def test_one_cycle_is_torch_s(total: int, warmup: float) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.0, total, pct_start=warmup)
    for step in range(total):
        assert one_cycle(step, total, warmup) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimiser.step()
        if step < total - 1:
            theirs.step()


def test_a_cosine_comes_up_again_after_its_half_period() -> None:
    cosine = phase({"kind": "cosine", "floor": 1e-5, "half_period": 2}, peak=1e-3, epochs=5)
    rates = [learning_rate(cosine, 10 * epoch, 100, 10) for epoch in range(5)]
    middle = (1e-3 + 1e-5) / 2
    assert rates == pytest.approx([1e-3, middle, 1e-5, middle, 1e-3])
    whole = phase({"kind": "cosine"}, peak=1.0, epochs=4)
    assert learning_rate(whole, 20, 100, 10) == pytest.approx(0.5)
    assert learning_rate(whole, 40, 100, 10) == pytest.approx(0.0)


def test_a_constant_stays() -> None:
    constant = phase({"kind": "constant"}, steps=7)
    assert {learning_rate(constant, step, 5, 1) for step in range(7)} == {0.003}
    assert phase_steps(constant, 5, 1) == 7
    assert phase_steps(phase({"kind": "constant"}, epochs=3), 100, 13) == 39
