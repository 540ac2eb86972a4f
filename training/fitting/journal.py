"""What training says while it runs: a bar or lines, a record, and curves for a tracker."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from accelerate import Accelerator

from training.progress import progress_bar

_TRACKER_PAUSE_S = 60.0


class Journal:
    """`metrics.jsonl`, the progress bar and the tracker; of the main process only.

    Other long work shows itself in `progress`, too: a terminal has room for one.

    Each line of the file has the `step` (of all phases), the phase, the mean training loss since
    the line before, the learning rate, photos a second, and the validation figures.
    """

    def __init__(self, file: Path, accelerator: Accelerator, photos: int) -> None:
        """`photos`: how many go through the network in all, for the bar."""
        self._file, self._accelerator = file, accelerator
        self.progress = progress_bar()
        self._task = self.progress.add_task("training", total=photos)
        self._since, self._spent, self._seen = time.monotonic(), 0.0, 0
        self._tracks_from = 0.0

    def __enter__(self) -> Self:
        if self._accelerator.is_main_process:
            self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def go_on(self, total: int, photos: int) -> None:
        """Begin after so many steps; lines of later ones, of a run that was killed, go."""
        self.progress.update(self._task, completed=photos)
        if not self._accelerator.is_main_process or not self._file.exists():
            return
        lines = self._file.read_text().splitlines(keepends=True)
        kept = [line for line in lines if _step_of(line) <= total]
        partial = self._file.with_name(f"{self._file.name}.partial")
        partial.write_text("".join(kept))
        partial.replace(self._file)

    def work(self) -> None:
        """Steps begin, or go on, now: photos a second count from here."""
        self._since = time.monotonic()

    def rest(self) -> None:
        """Something else than steps begins."""
        self._spent += time.monotonic() - self._since

    def step(self, total: int, loss: float, learning_rate: float, photos: int) -> None:
        """After each step: the mean loss of its photos."""
        self._seen += photos
        self.progress.advance(self._task, photos)
        self._track({"loss": loss, "learning_rate": learning_rate}, total)

    def evaluated(
        self, total: int, phase: int, epoch: float, loss: float, learning_rate: float,
        figures: dict[str, float],
    ) -> None:  # fmt: skip
        """After each evaluation, which is no part of the steps' time."""
        rate = self._seen / max(self._spent, 1e-9)
        self._spent, self._seen = 0.0, 0
        found = f"top1 {figures['top1']:.3f}, loss {figures['loss']:.3f}"
        # The figures first: what a narrow terminal has no room for is cut off at the end.
        note = f"loss {loss:.3f}; validation: {found}; phase {phase + 1}, epoch {epoch:.1f}"
        self.progress.update(self._task, note=note)
        if self.progress.disable and self._accelerator.is_main_process:
            # Into whatever file a long training was sent to, where a bar would be noise.
            share = self.progress.tasks[0].percentage
            print(f"{share:.0f}%, step {total}: {note}, {rate:.0f} photos/s", file=sys.stderr)
        self._track({f"validation_{k}": v for k, v in figures.items()}, total)
        if not self._accelerator.is_main_process:
            return
        line: dict[str, Any] = {
            "step": total,
            "phase": phase,
            "epoch": round(epoch, 3),
            "loss": loss,
            "learning_rate": learning_rate,
            "photos_per_s": round(rate, 1),
            "validation": figures,
        }
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _track(self, values: dict[str, float], total: int) -> None:
        began = time.monotonic()
        if began < self._tracks_from:
            return
        try:
            self._accelerator.log(values, step=total)
        # Whatever a tracker raises where its server is away: hours of training are worth more.
        except Exception as error:
            now = time.monotonic()
            # Its client may have tried for long: most of the time is for training.
            pause = max(_TRACKER_PAUSE_S, 20 * (now - began))
            self._tracks_from = now + pause
            print(
                f"the tracker fails, training goes on, without it for {pause:.0f} s: {error}",
                file=sys.stderr,
            )


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    # The last line of a process that was killed.
    except (ValueError, KeyError, TypeError):
        return float("inf")
