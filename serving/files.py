"""Files that appear whole or not at all, and are still there after a power cut."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 20
_MARK_BYTES = 4


def write_durably(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Replace a file in one step; when this returns, it is on disk.

    Args:
        content: a text is written as UTF-8.
        mode: of the file, less what the umask takes away.

    Raises:
        OSError: it cannot be written; the file is as it was, with nothing left beside it.
    """
    with _replacing(path, mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def copy_durably(source: Path, target: Path) -> None:
    """Copy a file as `write_durably` writes one.

    Raises:
        OSError: one cannot be read or the other not written, as where the disk is full; the target
            is as it was, with nothing left beside it.
    """
    with source.open("rb") as original, _replacing(target, 0o644) as file:
        shutil.copyfileobj(original, file, _CHUNK)


def remove_partials(folder: Path, name: str) -> None:
    """Remove what killed processes left of their attempts to write `name`.

    Raises:
        OSError: one cannot be removed.
    """
    partial = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{{2 * _MARK_BYTES}}}\.partial")
    for path in folder.iterdir():
        if partial.fullmatch(path.name):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the folder's list of names on disk: a file's own fsync does not see to its name.

    Raises:
        OSError: it cannot be done.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _replacing(path: Path, mode: int) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` at the end, unless there is an exception."""
    # A name of its own, as two may be writing at once.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(_MARK_BYTES)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)
