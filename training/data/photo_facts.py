"""What one file holds. Runs in processes of its own, so little is imported."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

from handlers.config import Limits
from handlers.images import TAKEN_FORMATS, check_bytes, decode_image
from handlers.problems import Problem
from training.data.looks import Looks, look_of

LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What is known about a file. Where it does not decode, that is the error alone.

    Attributes:
        error: why it does not decode; empty where it does.
        unread: it could not be read, which another time it may.
        sha256: of the file.
        width, height: px, upright.
        look: see `looks`; None where the picture is too plain.
    """

    error: str
    unread: bool = False
    sha256: bytes = bytes(32)
    width: int = 0
    height: int = 0
    look: Looks | None = None


def read_facts(path: Path) -> PhotoFacts:
    """Decode a photo as the worker would."""
    try:
        found = path.stat()
        # A pipe, say, would be waited for for ever.
        if not stat.S_ISREG(found.st_mode):
            return PhotoFacts("not a file", unread=True)
        check_bytes(found.st_size, LIMITS)
        data = path.read_bytes()
        picture = decode_image(data, LIMITS)
    except OSError as error:
        return PhotoFacts(error.strerror or str(error), unread=True)
    except Problem as problem:
        # Which formats are taken is for who sends a photo, not for each line of a report.
        why = str(problem).removeprefix("photo: ").partition(f"; {TAKEN_FORMATS}")[0]
        return PhotoFacts(why)
    return PhotoFacts(
        error="",
        sha256=hashlib.sha256(data).digest(),
        width=picture.width,
        height=picture.height,
        look=look_of(picture),
    )


def read_facts_of(folder: Path, paths: list[str]) -> list[PhotoFacts]:
    """As `read_facts`, for a few photos at a time: less to send between processes."""
    return [read_facts(folder / path) for path in paths]
