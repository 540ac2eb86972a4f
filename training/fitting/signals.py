"""Ctrl-C and SIGTERM while training: finish the step, save, stop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

# Whoever stops a group of processes often reaches each of them twice, as torchrun passes on what it
# gets: only what comes later than this is a person who does not want to wait.
_APART_S = 2.0
_TOLD = (
    b"\nstopping: this step is finished and all is saved, which may take some seconds; "
    b"Ctrl-C once more does not wait for that\n"
)


class Signals:
    """Notes the two while steps are done, which are then saved; else they stop at once.

    A second Ctrl-C some seconds later does not wait for the save. Used around the training, in the
    main thread.
    """

    def __init__(self) -> None:
        self.stop = False
        self._noting = False
        self._noted_at = 0.0
        self._process = os.getpid()
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Inside, a signal sets `stop` and nothing else."""
        self._noting = True
        try:
            yield
        finally:
            self._noting = False

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loader that was forked just now
            return
        waited = self.stop and time.monotonic() - self._noted_at > _APART_S
        if not self._noting or (waited and number == signal.SIGINT):
            raise KeyboardInterrupt
        if not self.stop:
            self.stop, self._noted_at = True, time.monotonic()
            if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
                # Not print: what the signal interrupted may be in the midst of printing.
                os.write(2, _TOLD)
