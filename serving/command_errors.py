"""Which errors of a command are told in one line."""

from __future__ import annotations

_OURS = ("benchmarks.", "handlers.", "serving.", "training.", "web.")
# An image may lack these parts of the project.
_PARTS = ("benchmarks", "training")


def is_expected(error: Exception) -> bool:
    """Our own errors and those of the file system have one clear line; anything else is a bug."""
    if isinstance(error, ModuleNotFoundError):
        return error.name in _PARTS
    return isinstance(error, OSError) or type(error).__module__.startswith(_OURS)
