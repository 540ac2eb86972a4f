"""Which errors of a command are told in one line."""

from __future__ import annotations

_OURS = ("benchmarks.", "handlers.", "serving.", "training.", "web.")


def is_expected(error: Exception) -> bool:
    """Our own errors and those of the file system have one clear line; anything else is a bug."""
    return isinstance(error, OSError) or type(error).__module__.startswith(_OURS)
