from __future__ import annotations

import io
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, UnidentifiedImageError

from handlers.config import Limits
from handlers.images import decode_image
from handlers.problems import Problem, TooLarge, UndecodableImage, UnsupportedImage
from tests.images import turned

LIMITS = Limits()
# Four corners of different colours: red, green / blue, white. Every orientation differs.
CORNERS = Image.new("RGB", (32, 24))
for place, colour in {
    (0, 0): "red",
    (16, 0): "lime",
    (0, 12): "blue",
    (16, 12): "white",
}.items():
    CORNERS.paste(colour, (*place, place[0] + 16, place[1] + 12))

LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "GIF": {}, "BMP": {}, "TIFF": {}}
LOSSY = {"JPEG": {"quality": 95}, "AVIF": {"quality": 95}, "HEIF": {"quality": 95}}
FORMATS: dict[str, dict[str, Any]] = LOSSLESS | LOSSY


def encode(image: Image.Image, format: str, **options: Any) -> bytes:  # noqa: ANN401
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def assert_alike(photo: Image.Image, expected: Image.Image, tolerance: float = 0) -> None:
    """Same size, and no quarter's middle differs by more than the tolerance."""
    assert photo.mode == "RGB"
    assert photo.size == expected.size
    width, height = photo.size
    middles = np.ix_((height // 4, 3 * height // 4), (width // 4, 3 * width // 4))
    ours, theirs = np.asarray(photo), np.asarray(expected.convert("RGB"))
    np.testing.assert_allclose(
        ours[middles].astype(int), theirs[middles].astype(int), atol=tolerance, rtol=0
    )


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_taken(format: str) -> None:
    photo = decode_image(encode(CORNERS, format, **FORMATS[format]), LIMITS)
    assert_alike(photo, CORNERS, 0 if format in LOSSLESS else 12)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "MPO", "HEIF"])
def test_of_several_frames_the_first_is_taken(format: str) -> None:
    others = [Image.new("RGB", CORNERS.size, "black")] * 2
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(CORNERS, format, save_all=True, append_images=others, **options)
    assert_alike(
        decode_image(data, LIMITS), CORNERS, 25 if format in ("MPO", "HEIF", "AVIF") else 0
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_every_orientation_is_turned_upright(format: str, orientation: int) -> None:
    image, exif = turned(CORNERS, orientation)
    data = encode(image, format, exif=exif, **FORMATS[format])
    assert_alike(decode_image(data, LIMITS), CORNERS, 0 if format in LOSSLESS else 25)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"\xff" * 50]
)
def test_corrupt_exif_is_ignored(exif: bytes) -> None:
    assert_alike(decode_image(encode(CORNERS, "PNG", exif=exif), LIMITS), CORNERS)
    data = encode(CORNERS, "JPEG", quality=95, exif=exif)
    assert_alike(decode_image(data, LIMITS), CORNERS, 12)


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("1", "PNG"),
        ("1", "TIFF"),
        ("L", "JPEG"),
        ("L", "PNG"),
        ("LA", "PNG"),
        ("LA", "TIFF"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("RGBA", "PNG"),
        ("RGBA", "WEBP"),
        ("RGBA", "TIFF"),
        ("RGBA", "AVIF"),
        ("RGBA", "HEIF"),
        ("RGBX", "TIFF"),
        ("CMYK", "TIFF"),
        ("CMYK", "JPEG"),
        ("YCbCr", "JPEG"),
        ("YCbCr", "TIFF"),
        ("LAB", "TIFF"),
        ("I;16", "PNG"),
        ("I;16", "TIFF"),
    ],
)
def test_every_mode_is_taken(mode: str, format: str) -> None:
    grey = mode in ("1", "L", "LA", "I;16")
    expected = CORNERS.convert("1").convert("RGB") if grey else CORNERS
    if mode == "I;16":
        image = Image.fromarray(np.asarray(expected.convert("L")).astype(np.uint16) * 257)
    else:
        image = expected.convert("RGB").convert(mode)
    options = {"lossless": True} if format == "WEBP" else {}
    photo = decode_image(encode(image, format, **options), LIMITS)
    lossy = format in ("JPEG", "AVIF", "HEIF") or mode == "LAB"
    assert_alike(photo, expected, 25 if lossy else 2)


def test_adobe_cmyk_is_not_inverted() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red
    data = bytearray(encode(image, "JPEG", quality=95))
    assert b"Adobe" in data  # Pillow writes the marker, and inverted values with it
    assert_alike(decode_image(bytes(data), LIMITS), Image.new("RGB", (8, 8), "red"), 6)


def test_16_bit_colour_keeps_its_high_bytes() -> None:
    # Pillow writes no such PNG: colour type 2, bit depth 16, two pixels.
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    pixels = struct.pack(">6H", 65535, 0, 32896, 257, 0, 65535)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(b"\0" + pixels)) + chunk(b"IEND", b"")
    photo = decode_image(data, LIMITS)
    assert list(photo.get_flattened_data()) == [(255, 0, 128), (1, 0, 255)]


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"\x00" * 100,
        b"%PDF-1.7 ...",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        encode(CORNERS, "JPEG2000"),
        encode(CORNERS, "ICO"),
        encode(CORNERS, "PPM"),
    ],
)
def test_another_format_is_refused_with_those_that_are_taken(data: bytes) -> None:
    with pytest.raises(UnsupportedImage) as caught:
        decode_image(data, LIMITS)
    for name in ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"):
        assert name in caught.value.detail


@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_file_is_undecodable(format: str) -> None:
    noise = Image.effect_noise((96, 96), 100).convert("RGB")
    data = encode(noise, format, **FORMATS[format])
    for part in (len(data) // 2, 40):
        with pytest.raises(UndecodableImage):
            decode_image(data[:part], LIMITS)


def test_an_empty_file_is_undecodable() -> None:
    with pytest.raises(UndecodableImage, match="empty"):
        decode_image(b"", LIMITS)


def test_limits_are_named_with_the_value() -> None:
    data = encode(CORNERS, "PNG")
    with pytest.raises(TooLarge, match=f"{len(data)} bytes; at most 50 are taken"):
        decode_image(data, Limits(bytes=50))
    with pytest.raises(TooLarge, match="32 x 24 = 768 pixels; at most 767 are taken"):
        decode_image(data, Limits(pixels=767))
    assert decode_image(data, Limits(bytes=len(data), pixels=768)).size == (32, 24)


@pytest.mark.parametrize("format", FORMATS)
def test_pixels_are_refused_before_anything_is_decoded(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    data = encode(CORNERS, format, **FORMATS[format])
    with Image.open(io.BytesIO(data)) as opened:
        monkeypatch.setattr(type(opened), "load", load)
    with pytest.raises(TooLarge, match="768 pixels"):
        decode_image(data, Limits(pixels=500))


@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_a_header_that_promises_too_much_is_refused(format: str) -> None:
    # Enormous pictures of one colour are small files; here only the header is changed.
    data = bytearray(encode(CORNERS.convert("RGBA"), format, **FORMATS[format]))
    if format == "PNG":
        data[16:24] = struct.pack(">II", 60000, 60000)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif format == "BMP":
        data[18:26] = struct.pack("<ii", 60000, 60000)
    elif format == "GIF":
        data[6:10] = struct.pack("<HH", 60000, 60000)
    elif format == "TIFF":
        (offset,) = struct.unpack_from("<I", data, 4)
        for entry in range(offset + 2, len(data) - 12, 12):
            if struct.unpack_from("<H", data, entry)[0] in (256, 257):
                struct.pack_into("<HII", data, entry + 2, 4, 1, 60000)
                if struct.unpack_from("<H", data, entry)[0] == 257:
                    break
    else:
        data = bytearray(b"RIFF\0\0\0\0WEBPVP8L\x20\0\0\0\x2f\xff\xff\xff\xff" + bytes(40))
    with pytest.raises((TooLarge, UndecodableImage)) as caught:
        decode_image(bytes(data), LIMITS)
    assert isinstance(caught.value, TooLarge) or format == "WEBP"


@pytest.mark.parametrize("format", ["GIF", "TIFF", "PNG", "WEBP", "AVIF"])
def test_frames_are_limited(format: str) -> None:
    images = [Image.new("RGB", (8, 8), (60 * i, 0, 0)) for i in range(4)]
    data = encode(images[0], format, save_all=True, append_images=images[1:])
    assert decode_image(data, Limits(frames=4)).size == (8, 8)
    with pytest.raises(TooLarge, match="more than 3 frames"):
        decode_image(data, Limits(frames=3))


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encode(Image.new("RGB", (64, 64)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    header = data[last : last + 2 + int.from_bytes(data[last + 2 : last + 4], "big")]
    bomb = data[:-2] + header * 2000 + data[-2:]
    with pytest.raises(TooLarge, match="scans"):
        decode_image(bomb, Limits(pixels=64 * 64))


def test_a_tiff_of_enormous_tiles_is_refused() -> None:
    tags = {256: 9, 257: 9, 258: 8, 259: 8, 262: 1, 277: 1, 322: 2**15, 323: 2**15, 324: 8, 325: 9}
    data = b"II*\0" + struct.pack("<IH", 8, len(tags))
    data += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    with pytest.raises(TooLarge, match="tiles of 1073741824 pixels"):
        decode_image(data + bytes(50), LIMITS)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (Image.DecompressionBombError("x"), TooLarge),
        (MemoryError(), TooLarge),
        (UnidentifiedImageError("x"), UndecodableImage),
        (OSError("broken data stream"), UndecodableImage),
        (SyntaxError("not a PNG"), UndecodableImage),
        (ValueError("x"), UndecodableImage),
        (TypeError("x"), UndecodableImage),
        (KeyError(7), UndecodableImage),
        (IndexError("x"), UndecodableImage),
        (AttributeError("x"), UndecodableImage),
        (AssertionError(), UndecodableImage),
        (EOFError(), UndecodableImage),
        (OverflowError("x"), UndecodableImage),
        (ZeroDivisionError("x"), UndecodableImage),
        (RuntimeError("x"), UndecodableImage),
        (NotImplementedError("x"), UndecodableImage),
        (RecursionError("x"), UndecodableImage),
        (UnicodeDecodeError("ascii", b"\xff", 0, 1, "x"), UndecodableImage),
        (struct.error("x"), UndecodableImage),
        (zlib.error("x"), UndecodableImage),
        (Image.DecompressionBombWarning("x"), UndecodableImage),
    ],
)
@pytest.mark.parametrize("where", ["open", "load"])
def test_every_lower_level_error_is_mapped(
    error: Exception, problem: type[Problem], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise error

    data = encode(CORNERS, "PNG")
    if where == "open":
        monkeypatch.setattr(Image, "open", fail)
    else:
        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(problem) as caught:
        decode_image(data, LIMITS)
    assert type(caught.value) is problem
    assert caught.value.__cause__ is error


def test_a_damaged_file_leaves_nothing_in_the_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    grey = Image.effect_noise((64, 64), 90).convert("1")
    fax = bytearray(encode(grey, "TIFF", compression="group4"))
    with Image.open(io.BytesIO(fax)) as opened:
        (strip,) = opened.tag_v2[273]  # type: ignore[attr-defined]
    fax[strip + 30 : strip + 90] = b"\xff" * 60
    # The fax decoder goes on behind each damaged row, after telling standard error of it.
    decode_image(bytes(fax), LIMITS)
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"
    assert not caplog.records


def test_a_problem_never_shows_the_photo() -> None:
    with pytest.raises(UndecodableImage) as caught:
        decode_image(b"\x89PNG\r\n\x1a\n" + b"SECRET" * 1000, LIMITS)
    assert len(caught.value.detail) < 200


def test_truncated_files_stay_refused_and_heif_stays_registered() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert pillow_heif.is_supported(encode(CORNERS, "HEIF"))


SEEDS = {name: encode(CORNERS, name, **options) for name, options in FORMATS.items()}


@settings(max_examples=400, deadline=None)
@given(
    format=st.sampled_from(sorted(SEEDS)),
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 2**16),
)
def test_mutated_files_are_decoded_or_refused(
    format: str, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(SEEDS[format])
    for place, value in changes:
        data[place % len(data)] = value
    if cut % 3 == 0:
        del data[cut % len(data) :]
    try:
        photo = decode_image(bytes(data), Limits(pixels=100_000, frames=10))
    except Problem as problem:
        status = problem.status
    else:
        status = 200 if photo.mode == "RGB" else 500
    assert status < 500


def test_threads_that_decode_tiffs_at_once_keep_standard_error() -> None:
    image = Image.new("RGB", (64, 64), "red")
    file = io.BytesIO()
    image.save(file, "TIFF")
    before = os.fstat(2)
    with ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(lambda _: decode_image(file.getvalue(), Limits()), range(200)))
    assert len(decoded) == 200
    after = os.fstat(2)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)
