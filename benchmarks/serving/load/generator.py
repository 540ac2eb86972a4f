"""A generator: a program of its own that prints JSON, a line each, among whatever else."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, TypeVar

from benchmarks.serving.errors import BenchError
from serving.processes import ends_with

T = TypeVar("T")
Told = list[dict[str, Any]]

_MORE_S = 120
_LOOK_S = 0.2


def run_generator(
    name: str,
    command: Sequence[str],
    seconds: float,
    read: Callable[[Told], T],
    *,
    asked: str = "",
    environment: Mapping[str, str] | None = None,
    watch: Callable[[Told], None] = lambda told: None,
) -> T:
    """Run one to its end.

    Args:
        name: for messages.
        seconds: that it takes when all goes well.
        read: is given the objects that were printed, and returns what is returned; it may raise
            LookupError, TypeError or ValueError.
        asked: for its standard input: arguments show in the list of processes, a token among them.
        watch: is called now and then, with the objects so far.

    Raises:
        BenchError: it fails, does not end, or says nothing that can be read.
    """
    lines: list[str] = []
    told: Told = []
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env=environment,
            preexec_fn=ends_with(os.getpid()),
        ) as process,
    ):
        reader = threading.Thread(target=_collect, args=(process.stdout, lines))
        reader.start()
        try:
            _ask(process.stdin, asked)
            deadline = time.monotonic() + seconds + _MORE_S
            looked = 0
            # In this order: once it has ended, no line is added any more.
            while reader.is_alive() or looked < len(lines):
                if time.monotonic() > deadline:
                    raise BenchError(f"{name} did not end {_MORE_S} s after it should have")
                reader.join(_LOOK_S)
                fresh = lines[looked:]
                looked += len(fresh)
                told += [json.loads(line) for line in fresh if line.startswith("{")]
                watch(told)
            if process.wait(_MORE_S) != 0:
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip() or "".join(lines).strip()
                raise BenchError(f"{name}: {said[-300:]}")
            return read(told)
        except (LookupError, TypeError, ValueError) as error:
            said = "".join(lines)[-200:]
            raise BenchError(f"{name} printed what cannot be read ({error}): {said}") from error
        finally:
            process.kill()
            reader.join()


def _collect(output: IO[str] | None, lines: list[str]) -> None:
    for line in output or ():
        lines.append(line)


def _ask(to: IO[str] | None, asked: str) -> None:
    # One that has ended already has complained of something else.
    with suppress(BrokenPipeError):
        if to is not None:
            to.write(asked)
            to.close()
