from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import cores
from handlers.cores import MOST_WORKERS, available_cores, default_threads, default_workers


@given(number=st.integers(1, 512), asked=st.none() | st.integers(1, 512))
def test_workers_and_threads_keep_the_cores_busy_and_never_fight_for_them(
    number: int, asked: int | None
) -> None:
    workers = asked or default_workers(number)
    threads = default_threads(asked, number)
    assert 1 <= default_workers(number) <= MOST_WORKERS
    assert workers * threads <= max(number, workers)
    # No more is left idle than cannot be shared out.
    assert number - workers * threads < (workers if asked else threads)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 6),
        ({"cpu.max": "max 100000\n"}, 6),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "900000 100000\n"}, 6),
        ({"cpu.max": "what\n"}, 6),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_cores_are_those_that_scheduler_and_container_allow(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(cores, "_CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(6)))
    assert available_cores() == expected
