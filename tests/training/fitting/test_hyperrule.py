from __future__ import annotations

import pytest

from training.fitting import hyperrule


@pytest.mark.parametrize(
    ("photos", "steps"),
    [
        (1_000, [100, 200, 300, 400, 500]),
        (19_999, [100, 200, 300, 400, 500]),
        (20_000, [500, 3000, 6000, 9000, 10_000]),
        (126_607, [500, 3000, 6000, 9000, 10_000]),
        (499_999, [500, 3000, 6000, 9000, 10_000]),
        (500_000, [500, 6000, 12_000, 18_000, 20_000]),
        (14_000_000, [500, 6000, 12_000, 18_000, 20_000]),
    ],
)
def test_the_paper_s_table_of_steps(photos: int, steps: list[int]) -> None:
    assert hyperrule.steps(photos) == steps


def test_mixup_begins_at_20_000_photos() -> None:
    assert (hyperrule.mixup(19_999), hyperrule.mixup(20_000)) == (0.0, 0.1)
