"""Bytes of a photo -> upright RGB, or the problem with it.

What cannot be decoded safely is refused from its header: pixels, frames and JPEG scans are
counted before anything is decoded. ICC profiles are ignored, as they are in training.
"""

from __future__ import annotations

import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pillow_heif
from PIL import ExifTags, Image, UnidentifiedImageError

from handlers.config import Limits
from handlers.image_modes import to_rgb
from handlers.image_structure import gif_frames, jpeg_scans, tiff_frames
from handlers.problems import Problem, TooLarge, UndecodableImage, UnsupportedImage, shorten

# MPO, a camera's JPEG with more pictures behind it, is opened by Pillow's JPEG plugin.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
TAKEN_FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC and HEIF"

# A JPEG may make the decoder visit as many pixels as this many scans of the largest photo.
_SCANS_OF_LARGEST_PHOTO = 40

_TILE_WIDTH, _TILE_HEIGHT = 322, 323  # TIFF 6.0 tags

# How a photo is turned upright, by EXIF orientation (CIPA DC-008, 4.6.4 A); 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_stderr_lock = threading.Lock()

pillow_heif.register_heif_opener()
# Pillow logs what it finds wrong with a file; that is answered to the sender instead.
logging.getLogger("PIL").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Decoded:
    """A photo that could be decoded.

    Attributes:
        image: mode RGB, turned upright by its EXIF orientation, transparency over white.
        pixels: width times height of the file, which may be more than the image's.
    """

    image: Image.Image
    pixels: int


def decode_image(data: bytes, limits: Limits, side: int | None = None) -> Image.Image:
    """The image of `decode_photo`."""
    return decode_photo(data, limits, side).image


def decode_photo(data: bytes, limits: Limits, side: int | None = None) -> Decoded:
    """Decode one photo; of an animation or a multi-page file its first frame.

    Args:
        data: the file as it was sent.
        limits: bytes, pixels and frames are looked at.
        side: pixels of the shorter side that are enough. A JPEG that has at least twice as many is
            decoded at a half, a quarter or an eighth of its size, by leaving out the higher
            frequencies of its blocks; None: at its full size.

    Raises:
        UndecodableImage: empty, damaged, truncated, or a variant that Pillow does not know.
        UnsupportedImage: in none of the taken formats.
        TooLarge: more bytes, pixels or frames than the limits allow.
    """
    if not data:
        raise UndecodableImage(f"photo: empty; {TAKEN_FORMATS} are taken")
    check_bytes(len(data), limits)
    with _silent_warnings:
        try:
            return _decode(data, limits, side)
        except Problem:
            raise
        except (Image.DecompressionBombError, MemoryError) as error:
            raise TooLarge(
                f"photo: more pixels than can be decoded; at most {limits.pixels} are taken"
            ) from error
        except UnidentifiedImageError as error:
            raise _unidentified(data) from error
        # Damaged files make Pillow and its plugins raise nearly anything: OSError, SyntaxError,
        # ValueError, struct.error, zlib.error, KeyError, AttributeError, RuntimeError, ...
        except Exception as error:
            raise UndecodableImage(
                f"photo: damaged or truncated ({shorten(str(error), 80)})"
            ) from error


def check_bytes(size: int, limits: Limits) -> None:
    """Raise TooLarge where a photo's file has more bytes than are taken."""
    if size > limits.bytes:
        raise TooLarge(f"photo: {size} bytes; at most {limits.bytes} are taken")


def _decode(data: bytes, limits: Limits, side: int | None) -> Decoded:
    image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
    _check_pixels(image, limits)
    pixels = image.width * image.height
    _check_frames(image, data, limits)
    _check_structure(image, data, limits)
    if side is not None:
        _reduce(image, side)
    with _silent_stderr() if image.format == "TIFF" else nullcontext():
        image.load()
    # A HEIF file's header can promise another size than its picture has.
    _check_pixels(image, limits)
    # After `load`: Pillow turns a TIFF upright itself and then takes the orientation away, as
    # pillow_heif does; libavif's rotation is turned into an EXIF orientation by Pillow.
    orientation = _orientation(image)
    image = to_rgb(image)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    return Decoded(image, pixels)


def _reduce(image: Image.Image, side: int) -> None:
    """Have a JPEG decoded at a fraction of its size; other formats know no such thing."""
    scale = min(image.size) // side
    if image.format in ("JPEG", "MPO") and scale >= 2:
        # Pillow takes the largest of 8, 4 and 2 that leaves at least this size.
        image.draft(image.mode, (image.width // scale, image.height // scale))


class _SilentWarnings:
    """Pillow warns about damaged metadata, which is the sender's business and not the log's.

    The filters of `warnings` are the process's, so threads that decode side by side share one
    change of them: the first makes it, and the last takes it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)


_silent_warnings = _SilentWarnings()


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """libtiff writes a line to the process's standard error for every row that is damaged.

    One thread at a time: two that swap the descriptor at once could leave it swapped.
    """
    with _stderr_lock:
        stderr = os.dup(2)
        try:
            with Path(os.devnull).open("wb") as null:
                os.dup2(null.fileno(), 2)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _check_pixels(image: Image.Image, limits: Limits) -> None:
    pixels = image.width * image.height
    if not pixels:
        raise UndecodableImage("photo: has no pixels")
    if pixels > limits.pixels:
        raise TooLarge(
            f"photo: {image.width} x {image.height} = {pixels} pixels; "
            f"at most {limits.pixels} are taken"
        )


def _check_frames(image: Image.Image, data: bytes, limits: Limits) -> None:
    if image.format == "GIF":
        frames = gif_frames(data, limits.frames)
    elif image.format == "TIFF":
        frames = tiff_frames(data, limits.frames)
    else:  # the other formats have the number in a header
        frames = getattr(image, "n_frames", 1)
    if frames > limits.frames:
        raise TooLarge(f"photo: more than {limits.frames} frames; at most as many are taken")


def _check_structure(image: Image.Image, data: bytes, limits: Limits) -> None:
    """Refuse small files that make a decoder work or allocate far beyond their pixels."""
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO"):
        most = max(_SCANS_OF_LARGEST_PHOTO * limits.pixels // pixels, 1)
        if jpeg_scans(data, most) > most:
            raise TooLarge(f"photo: more than {most} scans in a JPEG of {pixels} pixels")
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        tile = tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_HEIGHT, 0)
        if tile > limits.pixels:
            raise TooLarge(f"photo: tiles of {tile} pixels; at most {limits.pixels} are taken")


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        # Corrupt EXIF raises nearly anything; the photo itself is good, so it stays as it lies.
        return None


def _unidentified(data: bytes) -> Problem:
    prefix = bytes(data[:16])
    for name in _FORMATS:
        accept = Image.OPEN[name][1]
        if accept is not None and accept(prefix):
            return UndecodableImage(f"photo: a {name} file, but damaged or truncated")
    return UnsupportedImage(f"photo: not an image format that is taken; {TAKEN_FORMATS} are")
