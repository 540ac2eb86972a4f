"""The bar has room for what matters, and never more than a line."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from training.progress import progress_bar

NOTE = "loss 0.480; validation: top1 0.750, loss 0.612; phase 2, epoch 1.0"


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
def test_a_training_is_one_line_with_its_rate_and_time_left(columns: int) -> None:
    bar = progress_bar()
    task = bar.add_task("training", total=20_000)
    bar.update(task, completed=11_200, note=NOTE)
    bar.tasks[0].finished_speed = 2632.0
    console = Console(width=columns, file=io.StringIO())
    with console.capture() as captured:
        console.print(bar.get_renderable())
    (line,) = captured.get().splitlines()
    assert len(line.rstrip()) <= columns
    assert line.startswith("training ")
    assert " 56% 2632 photos/s loss 0.480; " in line
    assert line.rstrip().endswith("-:--:--")
    if columns >= 120:
        assert NOTE in line
    elif columns >= 100:
        assert "top1 0.750" in line
