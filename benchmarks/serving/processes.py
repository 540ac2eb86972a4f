"""A side's processes: what they cost, and how they are suspended and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.serving.errors import BenchError

_STOP_S = 3.0
_SIGNAL_S = 10.0
_POLL_S = 0.02


def family(roots: Iterable[int]) -> list[psutil.Process]:
    """The processes and all that descend from them; ended ones are left out."""
    found: dict[int, psutil.Process] = {}
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(root)
            for each in (process, *process.children(recursive=True)):
                if each.status() != psutil.STATUS_ZOMBIE:
                    found[each.pid] = each
    return list(found.values())


def name_of(process: psutil.Process) -> str:
    """What a process does, in a word: java, worker, gateway, server."""
    words = process.cmdline()
    line = " ".join(words)
    if words and Path(words[0]).name == "java":
        return "java"
    if "model_service_worker" in line or "multiprocessing" in line or "limit_loop" in line:
        return "helper" if "resource_tracker" in line else "worker"
    if "web" in words:
        return "gateway"
    return "server"


def cpu_s(roots: Iterable[int]) -> dict[tuple[int, str], float]:
    """Seconds on a core, user and system, by (process id, name)."""
    spent: dict[tuple[int, str], float] = {}
    for process in family(roots):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            times = process.cpu_times()
            spent[process.pid, name_of(process)] = times.user + times.system
    return spent


def cpu_between(
    before: Mapping[tuple[int, str], float], after: Mapping[tuple[int, str], float]
) -> dict[str, float]:
    """Seconds on a core in between, by name of the process."""
    spent: dict[str, float] = {}
    for (pid, name), seconds in after.items():
        spent[name] = spent.get(name, 0.0) + seconds - before.get((pid, name), 0.0)
    return spent


def pss_mb(roots: Iterable[int]) -> dict[str, list[float]]:
    """Proportional set size in MB, by name of the process, one number a process.

    What processes share is counted once, in equal parts: these numbers may be added up.
    """
    sizes: dict[str, list[float]] = {}
    for process in family(roots):
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    sizes.setdefault(name_of(process), []).append(int(line.split()[1]) / 1000)
    return sizes


def suspend(roots: Iterable[int]) -> None:
    """Stop all of them, and return when they are stopped."""
    _until(list(roots), lambda each: each.suspend(), stopped=True)


def resume(roots: Iterable[int]) -> None:
    """Let all of them go on."""
    _until(list(roots), lambda each: each.resume(), stopped=False)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group of its own, with all that it started."""
    started = family([process.pid])
    resume([process.pid])
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for each in started:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
    psutil.wait_procs(started, timeout=_STOP_S)


@contextmanager
def standard_error_to(path: Path) -> Iterator[None]:
    """Processes that are started meanwhile write there what they say: TorchServe's log is long."""
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("ab") as log:
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def _until(roots: list[int], act: Callable[[psutil.Process], None], stopped: bool) -> None:
    # Again until it holds: one may have started another in between.
    deadline = time.monotonic() + _SIGNAL_S
    while time.monotonic() < deadline:
        left = 0
        for process in family(roots):
            with suppress(psutil.NoSuchProcess):
                if (process.status() == psutil.STATUS_STOPPED) != stopped:
                    left += 1
                    act(process)
        if left == 0:
            return
        time.sleep(_POLL_S)
    raise BenchError(f"processes {roots} could not be {'stopped' if stopped else 'continued'}")


class Guard:
    """Ends the sides where the benchmark itself is killed: a suspended process would stay for ever.

    A process that holds the other end of a pipe and knows the sides' process ids.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            (sys.executable, str(Path(__file__).with_name("guard.py"))),
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tell("done")
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()

    def watch(self, pid: int) -> None:
        """A process whose family ends with us."""
        self._tell(f"+{pid}")

    def forget(self, pid: int) -> None:
        """It has ended; its number may be somebody else's soon."""
        self._tell(f"-{pid}")

    def _tell(self, line: str) -> None:
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                print(line, file=self._process.stdin, flush=True)
