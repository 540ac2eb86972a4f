"""`catbreeds train` as a process that is watched, stopped and killed."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tests.serving.serve_process import CATBREEDS
from training.fitting.checkpoint import Checkpoints, Position

# Long enough for a signal to find it at work.
LONGER = ("--set", "training.phases.1.epochs=25")
_PATIENCE_S = 120


class Training:
    """`catbreeds train` in a process group of its own."""

    def __init__(
        self,
        recipe: str,
        data: Path,
        run: Path,
        *options: str,
        file_bytes: int = 0,
        tracker: str = "none",
        env: Mapping[str, str] | None = None,
    ) -> None:
        def limit() -> None:
            if file_bytes:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

        self.run = run
        self.process = subprocess.Popen(
            (
                *(str(CATBREEDS), "train", recipe, str(data), str(run), *LONGER),
                *("--tracker", tracker, *options),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"OMP_WAIT_POLICY": "passive"} | dict(env or {}),
            preexec_fn=limit,
        )

    def wait_for_step(self, phase: int, step: int) -> None:
        """Until that step's checkpoint lies there."""
        deadline = time.monotonic() + _PATIENCE_S
        while (at := position(self.run)) is None or (at.phase, at.step) < (phase, step):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def wait_for(self, file: Path) -> None:
        """Until that file is there."""
        deadline = time.monotonic() + _PATIENCE_S
        while not file.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        """Exit code, and what it said on standard error."""
        _, errors = self.process.communicate(timeout=_PATIENCE_S)
        return self.process.returncode, errors


def position(run: Path) -> Position | None:
    if not Checkpoints(run):
        return None
    saved = torch.load(run / "checkpoint" / "latest.pt", weights_only=True)
    return Position(**saved["position"])


def result(run: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """The weights' bytes, and what was measured on the way but for the rate."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["photos_per_s"]
    return (run / "weights.safetensors").read_bytes(), lines
