"""What child processes have in common."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def ends_with(parent: int) -> Callable[[], None]:
    """For `preexec_fn`: the child gets SIGTERM even where its parent is killed outright."""

    def arrange() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # killed in between: the signal will not come any more
            os._exit(1)

    return arrange
