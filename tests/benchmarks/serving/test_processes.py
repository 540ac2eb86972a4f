"""Suspended, resumed, counted, and never left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from benchmarks.serving.processes import cpu_between, cpu_s, end, family, pss_mb, resume, suspend

_PARENT = (
    "import subprocess, sys;"
    "print(subprocess.Popen([sys.executable, '-c', 'while True: pass']).pid, flush=True);"
    "input()"
)
_BENCHMARK = """
import subprocess, sys, time
from benchmarks.serving.processes import Guard, suspend
with Guard() as guard:
    side = subprocess.Popen(["sleep", "600"], start_new_session=True)
    guard.watch(side.pid)
    suspend([side.pid])
    print(side.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def busy() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process with a child that never rests."""
    process = subprocess.Popen(
        (sys.executable, "-c", _PARENT),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    yield process, int(process.stdout.readline())
    end(process)
    process.stdin.close()
    process.stdout.close()


def test_a_suspended_family_does_nothing(busy: tuple[subprocess.Popen[bytes], int]) -> None:
    process, child = busy
    assert {each.pid for each in family([process.pid])} == {process.pid, child}
    suspend([process.pid])
    before = cpu_s([process.pid])
    assert all(each.status() == psutil.STATUS_STOPPED for each in family([process.pid]))
    assert cpu_between(before, cpu_s([process.pid])) == {"server": 0.0}
    assert len(pss_mb([process.pid])["server"]) == 2
    resume([process.pid])
    while not cpu_between(before, cpu_s([process.pid]))["server"]:
        pass


@pytest.mark.parametrize("suspended", [False, True])
def test_the_whole_family_ends(busy: tuple[subprocess.Popen[bytes], int], suspended: bool) -> None:
    process, child = busy
    if suspended:
        suspend([process.pid])
    end(process)
    assert family([process.pid, child]) == []


def test_a_killed_benchmark_leaves_no_suspended_side() -> None:
    benchmark = subprocess.Popen((sys.executable, "-c", _BENCHMARK), stdout=subprocess.PIPE)
    assert benchmark.stdout is not None
    side = psutil.Process(int(benchmark.stdout.readline()))
    benchmark.send_signal(signal.SIGKILL)
    benchmark.wait()
    benchmark.stdout.close()
    psutil.wait_procs([side], timeout=60)
    assert not side.is_running() or side.status() == psutil.STATUS_ZOMBIE


def test_processes_that_came_in_between_count_from_their_start() -> None:
    before = {(1, "java"): 2.0, (2, "worker"): 5.0}
    after = {(1, "java"): 2.5, (3, "worker"): 1.0}
    assert cpu_between(before, after) == {"java": 0.5, "worker": 1.0}
