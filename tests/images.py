"""Image files to send: every format, mode and orientation, and files that claim too much."""

from __future__ import annotations

import io
import struct
import zlib

import pillow_heif
from PIL import ExifTags, Image

pillow_heif.register_heif_opener()

# How an upright picture has to lie in the file so that a viewer that obeys the EXIF orientation
# shows it upright: the inverse of the viewer's turn (CIPA DC-008, 4.6.4 A).
_STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
ORIENTATIONS = (1, *_STORED_AS)


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def rgb(photo: bytes) -> Image.Image:
    """A photo's pixels, 8 bits a channel."""
    with Image.open(io.BytesIO(photo)) as image:
        return image.convert("RGB")


def turned(image: Image.Image, orientation: int) -> tuple[Image.Image, bytes]:
    """An upright picture as a camera held that way stores it, and the EXIF data that says so.

    EXIF as bytes: only these make pillow_heif write HEIF's own rotation, which is the one that
    counts there.
    """
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if orientation in _STORED_AS:
        image = image.transpose(_STORED_AS[orientation])
    return image, exif.tobytes()


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose valid header promises that many pixels."""
    small = encode(Image.new("L", (1, 1)), "PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + small[24:29]
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


def gif_of_frames(frames: int) -> bytes:
    """A GIF of that many frames of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b";"
