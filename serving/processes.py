"""What is done with processes."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

import psutil

_PR_SET_PDEATHSIG = 1


def ends_with(parent: int) -> Callable[[], None]:
    """For `preexec_fn`: the child gets SIGTERM even where its parent is killed outright."""

    def arrange() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # killed in between: the signal will not come any more
            os._exit(1)

    return arrange


def memory_bytes(pid: int) -> int:
    """Of one process; what it shares is counted in equal parts (PSS). 0 for one that has ended."""
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
