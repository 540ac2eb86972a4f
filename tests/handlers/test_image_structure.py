from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from handlers.image_structure import gif_frames, jpeg_scans, tiff_frames


def frames(format: str, count: int, **options: object) -> bytes:
    images = [Image.new("RGB", (9, 7), (40 * i % 256, i, 7)) for i in range(count)]
    file = io.BytesIO()
    images[0].save(file, format, save_all=True, append_images=images[1:], **options)
    return file.getvalue()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_gif_frames_are_counted(count: int) -> None:
    assert gif_frames(frames("GIF", count, comment=b"x" * 700), 10) == count


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_frames_are_counted(count: int, big: bool) -> None:
    assert tiff_frames(frames("TIFF", count, big_tiff=big), 10) == count


def test_counting_stops_above_enough() -> None:
    assert gif_frames(frames("GIF", 9), 3) == 4
    assert tiff_frames(frames("TIFF", 9), 3) == 4


def test_a_loop_of_directories_ends() -> None:
    assert tiff_frames(b"II*\0" + struct.pack("<I", 8) + struct.pack("<HI", 0, 8), 10) == 1


def jpeg(**options: object) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, "JPEG", **options)
    return file.getvalue()


def test_scans_are_counted_to_the_end_of_the_first_image() -> None:
    progressive = jpeg(progressive=True)
    scans = progressive.count(b"\xff\xda")
    assert scans > 5
    assert jpeg_scans(progressive, 100) == scans
    assert jpeg_scans(progressive, 3) == 4
    # A phone's motion photo appends a video, in which the marker's bytes stand by chance.
    assert jpeg_scans(jpeg() + b"\xff\xda\x00\x04" * 50, 5) == 1


def test_markers_in_metadata_are_no_scans() -> None:
    assert jpeg_scans(jpeg(comment=b"\xff\xda" * 50), 5) == 1


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([gif_frames, tiff_frames, jpeg_scans]),
    st.sampled_from([b"GIF89a", b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"\xff\xd8", b""]),
    st.binary(max_size=80),
)
def test_any_bytes_are_counted_without_an_error(count: object, prefix: bytes, rest: bytes) -> None:
    assert callable(count)
    assert 0 <= count(prefix + rest, 5) <= 6
