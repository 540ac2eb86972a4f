"""What is sent is as heavy as real photos."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from benchmarks.serving.photos import SETS, photo_set


@pytest.mark.parametrize("name", SETS)
def test_photos_are_what_they_say(name: str) -> None:
    for photo in photo_set(name):
        with Image.open(io.BytesIO(photo.data)) as image:
            assert image.size == photo.size
            assert image.format is not None
            assert image.format.lower() == photo.kind


def test_files_have_the_sizes_of_a_cameras() -> None:
    for photo in photo_set("small"):
        assert photo.size == (500, 375)
        assert 60_000 <= len(photo.data) <= 100_000
    (large,) = photo_set("large")
    assert large.size == (4000, 3000)
    assert 3_000_000 <= len(large.data) <= 5_000_000
    assert {photo.kind for photo in photo_set("mixed")} == {"jpeg", "png", "webp"}
