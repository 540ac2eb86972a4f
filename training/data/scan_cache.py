"""What earlier scans found, a file a data folder in $XDG_CACHE_HOME/catbreeds/scans (~/.cache/...).

A file is the SHA-256 of what follows it, and a .npz of arrays. One that is damaged, or was written
by other code, is taken for none. Nothing is kept in the data folder itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import pillow_heif
from numpy.typing import NDArray

from training.cache_folder import cache_folder
from training.data.dataset import is_inside
from training.data.photo_facts import LIMITS, PhotoFacts

# Raised whenever the same file would be found to hold something else.
_METHOD = f"1 {LIMITS} pillow {PIL.__version__} pillow-heif {pillow_heif.__version__}"

UNKNOWN, COMPARABLE, PLAIN, UNDECODABLE = range(4)

_ROW = np.dtype(
    [
        ("size", "<i8"),
        ("mtime_ns", "<i8"),
        ("state", "u1"),
        ("sha256", "u1", 32),
        ("width", "<u4"),
        ("height", "<u4"),
        ("look", "<u8", 3),
    ]
)
_IDENTITY = ["size", "mtime_ns"]
# Stands for a file that could not be read: no file has this size, so that it is tried again.
_UNREAD = -1
_DIGEST_BYTES = 32


@dataclass
class FactsTable:
    """What is known about a list of files, 73 bytes each.

    Attributes:
        paths: below the data folder, a row each.
        rows: fields `size` (bytes; 0 for no file) and `mtime_ns` of the file,
            `state` (one of the constants above), `sha256`, `width`, `height` and `look` as in
            `PhotoFacts`.
        errors: row -> why that file does not decode.
    """

    paths: list[str]
    rows: NDArray[np.void]
    errors: dict[int, str]

    @classmethod
    def empty(cls, paths: list[str]) -> FactsTable:
        """A table in which all states are UNKNOWN."""
        return cls(paths, np.zeros(len(paths), dtype=_ROW), {})

    def put(self, row: int, facts: PhotoFacts) -> None:
        """Note what a file holds."""
        entry = self.rows[row]
        if facts.unread:
            entry["size"] = _UNREAD
        if facts.error:
            self.errors[row] = facts.error
            entry["state"] = UNDECODABLE
            return
        entry["sha256"] = np.frombuffer(facts.sha256, dtype=np.uint8)
        entry["width"], entry["height"] = facts.width, facts.height
        entry["state"] = PLAIN if facts.look is None else COMPARABLE
        if facts.look is not None:
            entry["look"] = facts.look

    def take_over(self, other: FactsTable) -> None:
        """Copy what another table knows about files of the same path, size and time."""
        places = {path: row for row, path in enumerate(other.paths)}
        for row, path in enumerate(self.paths):
            place = places.get(path, -1)
            if place >= 0 and (other.rows[_IDENTITY][place] == self.rows[_IDENTITY][row]):
                self.rows[row] = other.rows[place]
                if place in other.errors:
                    self.errors[row] = other.errors[place]


def cache_file(folder: Path) -> Path | None:
    """Where the scan of a data folder is kept.

    None: the user has no home, or it would be in that very folder, which is never changed.
    """
    kept = cache_folder("scans")
    if kept is None or is_inside(kept, folder):
        return None
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32]
    return kept / f"{name}.npz"


def load(folder: Path) -> FactsTable | None:
    """What is kept about a data folder, or None."""
    path = cache_file(folder)
    try:
        content = b"" if path is None else path.read_bytes()
    except OSError:
        return None
    digest, packed = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(packed).digest() != digest:
        return None
    try:
        return _unpacked(packed)
    except Exception:
        # What other code wrote may lack anything, and numpy answers with nearly any exception.
        return None


def _unpacked(packed: bytes) -> FactsTable | None:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        if _text(arrays["method"]) != _METHOD:
            return None
        paths = _text(arrays["paths"]).split("\0")
        errors = {int(row): str(why) for row, why in json.loads(_text(arrays["errors"])).items()}
        rows = arrays["rows"]
    if rows.dtype != _ROW or rows.shape != (len(paths),):
        return None
    if sorted(errors) != np.flatnonzero(rows["state"] == UNDECODABLE).tolist():
        return None
    return FactsTable(paths, rows, errors)


def save(folder: Path, table: FactsTable) -> None:
    """Keep a table in place of the folder's last one.

    Raises:
        OSError: it cannot be written; the last one is as it was.
    """
    path = cache_file(folder)
    if path is None:
        return
    packed = io.BytesIO()
    np.savez(
        packed,
        method=_bytes(_METHOD),
        paths=_bytes("\0".join(table.paths)),
        errors=_bytes(json.dumps(table.errors)),
        rows=table.rows,
    )
    content = packed.getbuffer()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _bytes(text: str) -> NDArray[np.uint8]:
    # A file's name need not be UTF-8; Python then has surrogates in it.
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), dtype=np.uint8)


def _text(array: NDArray[np.uint8]) -> str:
    return array.tobytes().decode("utf-8", "surrogateescape")
