"""The one byte form a .mar has here, and the check that a file still has it.

A .mar is a zip file. Ours is a canonical one: entries sorted by name, stored uncompressed
(weights hardly compress, and the bytes then do not depend on a zlib version), fixed times and
modes, and SHA256SUMS covering every other entry. So the same content is the same file, and any
changed byte shows, be it in an entry or in the zip's own records.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from handlers.checksums import SUMS_FILE, format_sums, parse_sums, sha256_of

_CHUNK = 1 << 20
_FIRST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = 0o100644


class ArchiveError(Exception):
    """A .mar that must not be used.

    Attributes:
        entry: the entry at fault, or "zip structure" where it lies in none.
    """

    def __init__(self, path: Path, entry: str, reason: str) -> None:
        super().__init__(f"{path}: {entry}: {reason}")
        self.entry = entry


def write_archive(folder: Path, out: Path) -> None:
    """Pack all files below `folder` into `out`, adding SHA256SUMS; `out` appears whole or not.

    Raises:
        OSError: a file cannot be read, or the disk is full; `out` is then as it was.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    sums = {name: sha256_of(folder / name) for name in files if name != SUMS_FILE}
    (folder / SUMS_FILE).write_text(format_sums(sums))
    out.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, as two may be packing at once.
    temporary = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
            for name in sorted({*files, SUMS_FILE}):
                with (folder / name).open("rb") as source:
                    _store(archive, name, source, (folder / name).stat().st_size)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def verify_archive(path: Path) -> dict[str, str]:
    """Check every byte of a .mar.

    Returns:
        Entry name -> SHA-256 in hex, SHA256SUMS itself included.

    Raises:
        ArchiveError: not a zip, not in canonical form, an entry that climbs out of the folder,
            is missing, is not listed or does not have its checksum. Names the entry.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                digests = _verify_entries(path, archive)
                _verify_structure(path, file, archive)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
            # zipfile raises each of these for one or another damaged record.
            raise ArchiveError(path, "zip structure", str(error) or "not a zip file") from error
    return digests


def read_entry(path: Path, name: str) -> bytes:
    """One entry of a .mar that `verify_archive` has passed.

    Raises:
        ArchiveError: there is no such entry.
    """
    with zipfile.ZipFile(path) as archive:
        try:
            return archive.read(name)
        except KeyError:
            raise ArchiveError(path, name, "not in the archive") from None


def _verify_entries(path: Path, archive: zipfile.ZipFile) -> dict[str, str]:
    names = archive.namelist()
    for name in names:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or "\\" in name or ".." in parts:
            raise ArchiveError(path, name, "the name climbs out of the archive's folder")
    for info in archive.infolist():
        # Also keeps a small file from unpacking to gigabytes while it is checked.
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ArchiveError(path, info.filename, "is compressed; `archive` stores entries as is")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ArchiveError(path, twice, "stands in the archive twice")
    if SUMS_FILE not in names:
        raise ArchiveError(path, SUMS_FILE, "missing; `catbreeds archive` makes verifiable files")
    # Read first and on its own: a flip in it is its fault, not that of the entry on the line.
    digests = {SUMS_FILE: _digest(path, archive, SUMS_FILE)}
    try:
        expected = parse_sums(archive.read(SUMS_FILE).decode())
    except ValueError as error:
        raise ArchiveError(path, SUMS_FILE, str(error)) from error
    for name in sorted({*names, *expected} - {SUMS_FILE}):
        if name not in expected:
            raise ArchiveError(path, name, f"not listed in {SUMS_FILE}")
        if name not in names:
            raise ArchiveError(path, name, f"listed in {SUMS_FILE} but missing")
        digests[name] = _digest(path, archive, name)
        if digests[name] != expected[name]:
            reason = f"SHA-256 is {digests[name]}, {SUMS_FILE} says {expected[name]}"
            raise ArchiveError(path, name, reason)
    return digests


def _verify_structure(path: Path, file: IO[bytes], archive: zipfile.ZipFile) -> None:
    """The entries are right; write them again and compare, so that no other byte is free."""
    with tempfile.TemporaryFile() as again:
        with zipfile.ZipFile(again, "w") as canonical:
            for name in sorted(archive.namelist()):
                with archive.open(name) as source:
                    _store(canonical, name, source, archive.getinfo(name).file_size)
        again.seek(0)
        file.seek(0)
        offset = 0
        while True:
            ours, theirs = again.read(_CHUNK), file.read(_CHUNK)
            if ours != theirs:
                pairs = enumerate(zip(ours, theirs, strict=False))
                offset += next((i for i, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
                entry = _entry_at(archive, offset)
                raise ArchiveError(path, entry, f"byte {offset} is not as `archive` writes it")
            if not ours:
                return
            offset += len(ours)


def _entry_at(archive: zipfile.ZipFile, offset: int) -> str:
    if offset >= archive.start_dir:
        return "zip structure"
    before = [info for info in archive.infolist() if info.header_offset <= offset]
    return max(before, key=lambda info: info.header_offset).filename if before else "zip structure"


def _store(archive: zipfile.ZipFile, name: str, source: IO[bytes], size: int) -> None:
    info = zipfile.ZipInfo(name, _FIRST_ZIP_DATE)
    info.create_system = 3  # Unix, wherever it is packed
    info.external_attr = _REGULAR_FILE << 16
    info.file_size = size
    with archive.open(info, "w") as entry:
        shutil.copyfileobj(source, entry, _CHUNK)


def _digest(path: Path, archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    try:
        with archive.open(name) as entry:
            for chunk in iter(lambda: entry.read(_CHUNK), b""):
                digest.update(chunk)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ArchiveError(path, name, str(error) or "ends early") from error
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
