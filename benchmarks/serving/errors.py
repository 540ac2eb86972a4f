"""What the benchmark says where it cannot be done, in one line."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterable


class BenchError(Exception):
    """The benchmark cannot be run; the message says why and what to do."""


_EXTRA = "pip install 'catbreeds[bench]', or in a checkout: make test"
_PROGRAMS = {"wrk": "apt-get install wrk"}


def check_needs(needs: Iterable[str]) -> None:
    """Look for packages and programs before anything is started.

    Args:
        needs: names of Python packages, and `wrk`.

    Raises:
        BenchError: one is missing; names it and how to get it.
    """
    for name in needs:
        if name in _PROGRAMS:
            if shutil.which(name) is None:
                raise BenchError(f"{name} is not installed: {_PROGRAMS[name]}")
        elif importlib.util.find_spec(name) is None:
            raise BenchError(f"the Python package {name} is not installed: {_EXTRA}")
