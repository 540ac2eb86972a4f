from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from handlers.config import Limits
from tests.images import encode, png_that_claims, turned
from tests.training.data.photos import jpeg, picture
from training.data.photo_facts import PhotoFacts, read_facts


def facts_of(folder: Path, content: bytes) -> PhotoFacts:
    path = folder / "photo.jpg"
    path.write_bytes(content)
    return read_facts(path)


def test_a_photo_is_described_upright(tmp_path: Path) -> None:
    upright = picture(1, width=96, height=72)
    stored, exif = turned(upright, 6)
    content = encode(stored, "JPEG", exif=exif)
    facts = facts_of(tmp_path, content)
    assert (facts.error, facts.width, facts.height) == ("", 96, 72)
    assert facts.sha256 == hashlib.sha256(content).digest()
    assert facts.look is not None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>404</title>", "not an image format that is taken"),
        (jpeg(picture(1))[:900], "damaged or truncated"),
        (png_that_claims(10_000, 10_000), "100000000 pixels; at most 50000000 are taken"),
        (bytes(Limits().bytes + 1), "16777217 bytes; at most 16777216 are taken"),
    ],
    ids=["empty", "page", "truncated", "claims too much", "too large a file"],
)
def test_what_does_not_decode_says_why(tmp_path: Path, content: bytes, why: str) -> None:
    facts = facts_of(tmp_path, content)
    assert why in facts.error
    assert not facts.unread
    assert (facts.sha256, facts.width, facts.height, facts.look) == (bytes(32), 0, 0, None)


def test_what_cannot_be_read_may_be_another_time(tmp_path: Path) -> None:
    assert read_facts(tmp_path / "gone.jpg") == PhotoFacts("No such file or directory", unread=True)
    os.mkfifo(tmp_path / "pipe.jpg")
    assert read_facts(tmp_path / "pipe.jpg") == PhotoFacts("not a file", unread=True)
