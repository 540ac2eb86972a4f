"""What this machine can do at most: decoding and our engine on all cores, and no server."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving.errors import BenchError
from benchmarks.serving.figures import Load
from benchmarks.serving.processes import end
from benchmarks.serving.sides.child import last_line, launch
from benchmarks.serving.sides.side import Answer, Setup, Side

_LARGEST_BATCH = 8
_LEAD_S = 0.2


class LimitSide(Side):
    """A process with one thread for each core, as our workers are; one of them for a lone photo.

    At a concurrency of c each process computes batches of c / cores photos, at most 8: the share
    of each worker of so many clients.
    """

    name = "limit"
    what = (
        "decoding and our engine in bare loops, a process a core, without HTTP; latency of a batch"
    )
    calibrated = True

    def __init__(self) -> None:
        self._many: list[subprocess.Popen[bytes]] = []
        self._folder = Path()
        self.engine = ""

    @property
    def pids(self) -> list[int]:
        """See `Side.pids`."""
        return [each.pid for each in self._many]

    def start(self, setup: Setup) -> None:
        """See `Side.start`."""
        began = time.monotonic()
        self._folder = setup.folder / self.name
        cores = len(os.sched_getaffinity(0))
        for _ in range(cores):
            process = launch(
                "benchmarks.serving.sides.limit_loop",
                ("--model-dir", str(setup.model_dir), "--threads", "1"),
                self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            setup.guard.watch(process.pid)
            self._many.append(process)
        self._guard = setup.guard
        for process in self._many:
            self.engine = self._read(process)["engine"]
        self.what = f"{type(self).what}; {self.engine}"
        self.answer(setup.photo)
        self.startup_s = time.monotonic() - began

    def stop(self) -> None:
        """See `Side.stop`."""
        for process in self._many:
            end(process)
            self._guard.forget(process.pid)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        self._many = []

    def answer(self, photo: bytes) -> Answer:
        """See `Side.answer`."""
        path = self._folder / "photo"
        path.write_bytes(photo)
        self._tell(self._many[0], {"ask": str(path)})
        return [(breed, share) for breed, share in self._read(self._many[0])["probabilities"]]

    def measure(self, photos: Sequence[Path], clients: int, seconds: float) -> Load:
        """Loop over the photos, as many at a time as so many clients could offer."""
        cores = len(self._many)
        batch = max(1, min(_LARGEST_BATCH, clients // cores))
        return self._run(self._many[:clients], photos, batch, seconds)

    def _run(
        self,
        processes: Sequence[subprocess.Popen[bytes]],
        photos: Sequence[Path],
        batch: int,
        seconds: float,
    ) -> Load:
        asked = {
            "photos": [str(path) for path in photos],
            "seconds": seconds,
            "batch": batch,
            "at": time.monotonic() + _LEAD_S,
        }
        before = self.cpu()
        for process in processes:
            self._tell(process, asked)
        answers = [self._read(process) for process in processes]
        spent = self.cpu() - before
        latencies = [each for answer in answers for each in answer["latencies_ms"]]
        done = sum(answer["photos"] for answer in answers)
        rate = sum(answer["photos"] / answer["seconds"] for answer in answers)
        load = Load.of(latencies, {200: done}, 0, done / rate)
        # A latency is a batch's, so the count of photos is not that of latencies.
        return load.with_photos(done, rate, {"worker": 1000 * spent / done})

    def cpu(self) -> float:
        """Seconds on a core of all its processes together."""
        from benchmarks.serving.processes import cpu_s

        return sum(cpu_s(self.pids).values())

    def _tell(self, process: subprocess.Popen[bytes], line: dict[str, Any]) -> None:
        if process.stdin is not None:
            process.stdin.write(json.dumps(line).encode() + b"\n")
            process.stdin.flush()

    def _read(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        line = process.stdout.readline() if process.stdout is not None else b""
        if not line:
            raise BenchError(f"{self.name}: a process ended: {last_line(self._folder)}")
        answer: dict[str, Any] = json.loads(line)
        return answer
