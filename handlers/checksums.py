"""SHA256SUMS of an archive: what `sha256sum` writes, one line an entry, sorted by name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

SUMS_FILE = "SHA256SUMS"
# Folders of an unpacked archive that are no part of it.
SHARED_FOLDER = ".shared"
NOT_LISTED = {"__pycache__", SHARED_FOLDER}

_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^\r\n]+)")


class ChecksumError(ValueError):
    """An entry is damaged, missing or not listed; the message names it."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def format_sums(sums: Mapping[str, str]) -> str:
    """Text of SHA256SUMS for {entry: hexadecimal digest}; `sha256sum --check` reads it."""
    return "".join(f"{sums[entry]}  {entry}\n" for entry in sorted(sums))


def parse_sums(text: str) -> dict[str, str]:
    """{entry: hexadecimal digest} of a SHA256SUMS text.

    Raises:
        ChecksumError: a line that is not `<64 hexadecimal digits>  <entry>`, an entry listed
            twice, an entry outside of the archive.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ChecksumError(f"{SUMS_FILE}, line {number}: not `<sha256>  <entry>`")
        digest, entry = match.groups()
        if entry.startswith("/") or ".." in entry.split("/"):
            raise ChecksumError(f"{SUMS_FILE}, line {number}: {entry}: outside of the archive")
        if entry in sums:
            raise ChecksumError(f"{SUMS_FILE}, line {number}: {entry}: listed twice")
        sums[entry] = digest
    return sums


def verify_checksums(model_dir: Path) -> None:
    """Compare every file of an unpacked archive with SHA256SUMS.

    SHA256SUMS itself is not listed, nor is what comes to lie in `NOT_LISTED` when the archive is
    used: what Python compiles, and what workers share.

    Raises:
        ChecksumError: an entry differs, is missing, or is not listed.
    """
    sums_file = model_dir / SUMS_FILE
    try:
        listed = parse_sums(sums_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ChecksumError(f"{SUMS_FILE}: cannot be read ({error})") from error
    present = {
        path.relative_to(model_dir).as_posix()
        for path in model_dir.rglob("*")
        if path.is_file() and NOT_LISTED.isdisjoint(path.relative_to(model_dir).parts)
    } - {SUMS_FILE}
    for entry in sorted(listed.keys() | present):
        if entry not in present:
            raise ChecksumError(f"{entry}: listed in {SUMS_FILE} but missing")
        if entry not in listed:
            raise ChecksumError(f"{entry}: not listed in {SUMS_FILE}")
        if sha256_of(model_dir / entry) != listed[entry]:
            raise ChecksumError(f"{entry}: differs from its checksum in {SUMS_FILE}")
