"""Memory that stays with the process between steps."""

from __future__ import annotations

import ctypes
import platform

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_LARGEST = 2**31 - 1
_AT_ONCE = 256 << 20


def keep_memory() -> None:
    """Have glibc give freed memory to the next layer, instead of giving it back to the kernel.

    The activations of a step on the CPU are blocks of some hundred MB, each of which would be
    asked of the kernel, filled with zeros by it, and given back: half of the time of a MobileNet's
    step (benchmarks/training.md).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, _LARGEST)
    mallopt(_TOP_PAD, _AT_ONCE)
