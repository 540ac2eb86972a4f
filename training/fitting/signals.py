"""Ctrl-C and SIGTERM while training: finish the step, save, stop."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self


class Signals:
    """Notes the first of the two; the second one stops at once.

    Used around the training, in the main thread.
    """

    def __init__(self) -> None:
        self.stop = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.stop = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
