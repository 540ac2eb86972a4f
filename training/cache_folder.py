"""Where things are kept that can be had again: downloads, and what scans found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal


def cache_folder(kind: Literal["scans", "weights"]) -> Path | None:
    """$XDG_CACHE_HOME/catbreeds/<kind>, else that below ~/.cache; None: the user has no home."""
    # The specification has relative paths ignored:
    # https://specifications.freedesktop.org/basedir-spec/latest/
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "catbreeds" / kind
