"""`catbreeds serve` as a process of its own, with its own state and temp folders."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

CATBREEDS = Path(sys.executable).with_name("catbreeds")
_PATIENCE_S = 60


class ServeProcess:
    """Started, perhaps not ready yet. Standard output and error go to files in `folder`."""

    def __init__(self, folder: Path, model_store: Path, *options: str) -> None:
        self.folder = folder
        self.state, self.temp = folder / "state", folder / "tmp"
        for made in (folder, self.temp):
            made.mkdir(parents=True, exist_ok=True)
        self.environment = os.environ | {
            "CATBREEDS_STATE": str(self.state),
            "TMPDIR": str(self.temp),
        }
        command = (str(CATBREEDS), "serve", "--model-store", str(model_store), *options)
        with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                command,
                stdout=stdout,
                stderr=stderr,
                env=self.environment,
                # A process group of its own, as a shell gives to each of its jobs.
                start_new_session=True,
            )
        self._seen: set[psutil.Process] = {psutil.Process(self._process.pid)}

    @property
    def pid(self) -> int:
        """Of `catbreeds serve` itself."""
        return self._process.pid

    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def wait_for(self, text: str, after: str = "") -> None:
        """Until `text` stands in the output, somewhere after `after`."""
        deadline = time.monotonic() + _PATIENCE_S
        while text not in self._output_after(after):
            assert self._process.poll() is None, self.stderr()
            assert time.monotonic() < deadline, self.stderr()
            time.sleep(0.02)
        self.family()

    def _output_after(self, text: str) -> str:
        output = self.stdout() + self.stderr()
        return output.partition(text)[2] if text else output

    def wait_until_ready(self) -> None:
        self.wait_for("Ctrl-C stops it.")

    def family(self) -> list[psutil.Process]:
        """This process and all that it has started, as far as they live."""
        for process in list(self._seen):
            try:
                self._seen |= set(process.children(recursive=True))
            except psutil.NoSuchProcess:
                continue
        return [process for process in self._seen if alive(process)]

    def java(self) -> psutil.Process:
        """The Java process, which must be there."""
        return next(each for each in self.family() if each.name() == "java")

    def url(self, api: str) -> str:
        """The printed address of `page`, `predictions` and so on, without its path."""
        match = re.search(rf"{api} +(http://[0-9.]+:[0-9]+)/", self.stdout())
        assert match, self.stdout()
        return match[1]

    def send(self, signal_number: signal.Signals) -> None:
        """As Ctrl-C in a terminal does: to the whole process group."""
        self.family()
        os.killpg(self.pid, signal_number)

    def wait(self) -> int:
        """The exit code."""
        return self._process.wait(_PATIENCE_S)

    def gone(self) -> list[psutil.Process]:
        """What still lives of all that was ever started, after some patience."""
        _, left = psutil.wait_procs(list(self._seen), timeout=15)
        return [process for process in left if alive(process)]

    def leftovers(self) -> list[str]:
        """Files, sockets and folders that should not be there after the end."""
        kept = list(self.temp.rglob("*"))
        # The record of calls is there to be read afterwards.
        calls = self.state / "audit"
        kept += [
            path for path in self.state.rglob("*") if not path.is_dir() and path.parent != calls
        ]
        return [str(path) for path in kept]

    def kill(self) -> None:
        """End everything, whatever state it is in."""
        for process in self.family():
            process.kill()
        self._process.wait(_PATIENCE_S)


def alive(process: psutil.Process) -> bool:
    """Running, and not only a zombie that waits for its parent."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# Starts one with these options; `model_store=` names another store than the demo's.
Start = Callable[..., ServeProcess]


def assert_one_error(stderr: str, *says: str) -> None:
    errors = [line for line in stderr.splitlines() if not line.startswith("catbreeds: ")]
    errors = [line for line in errors if not re.match(r"\d{4}-\d\d-\d\dT", line)]  # the log
    assert len(errors) == 1, stderr
    assert errors[0].startswith("error: ")
    assert all(part in errors[0] for part in says), errors[0]
