"""A side that is a Python program of this package, on a free port."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.serving import USER_ENVIRONMENT
from benchmarks.serving.errors import BenchError
from benchmarks.serving.processes import end
from benchmarks.serving.sides.side import Answer, HttpSide, Setup, Target
from serving.processes import ends_with
from serving.settings import free_ports

_ROOT = Path(__file__).parents[3]


def environment(folder: Path) -> dict[str, str]:
    """What a side's process sees: the user's, a temp folder of its own, this checkout."""
    given = {
        key: value
        for key, value in USER_ENVIRONMENT.items()
        if not key.startswith(("PYTHON", "TS_", "CATBREEDS_"))
    }
    return given | {"PYTHONPATH": str(_ROOT), "TMPDIR": str(folder), "TEMP": str(folder)}


def launch(
    module: str,
    arguments: Sequence[str],
    folder: Path,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start `python -m module` as the leader of a group of its own; what it says goes to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            (sys.executable, "-m", module, *arguments),
            cwd=folder,
            env=environment(folder),
            stdin=stdin,
            stdout=log if stdout is None else stdout,
            stderr=log,
            start_new_session=True,
            preexec_fn=ends_with(os.getpid()),
        )


def last_line(folder: Path) -> str:
    """The end of what it said, for a message."""
    lines = (folder / "log").read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


class ChildSide(HttpSide):
    """Started with --port, --run and --model-dir; each program takes the one that it needs."""

    def __init__(
        self,
        name: str,
        module: str,
        what: str,
        path: str,
        read: Callable[[bytes], Answer],
        form: str = "raw",
        calibrated: bool = False,
    ) -> None:
        self.name, self.what, self.read, self.calibrated = name, what, read, calibrated
        self._module, self._path, self._form = module, path, form
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def pids(self) -> list[int]:
        """See `Side.pids`."""
        return [self._process.pid] if self._process else []

    def target(self) -> Target:
        """See `HttpSide.target`."""
        return Target("127.0.0.1", self._port, self._path, self._form)

    def start(self, setup: Setup) -> None:
        """See `Side.start`."""
        (self._port,) = free_ports(1)
        folder = setup.folder / self.name
        began = time.monotonic()
        process = self._process = launch(
            f"benchmarks.serving.sides.{self._module}",
            (
                *("--port", str(self._port), "--run", str(setup.run)),
                *("--model-dir", str(setup.model_dir)),
            ),
            folder,
        )
        setup.guard.watch(process.pid)
        self._guard = setup.guard

        def check_alive() -> None:
            code = process.poll()
            if code is not None:
                raise BenchError(f"{self.name}: ended with exit code {code}: {last_line(folder)}")

        self.wait_until_ready(setup.photo, check_alive, began)

    def stop(self) -> None:
        """See `Side.stop`."""
        if self._process is not None:
            end(self._process)
            self._guard.forget(self._process.pid)
            self._process = None
