"""What an image file says about itself, counted without decoding a pixel.

Pillow counts the frames of a GIF or TIFF by visiting every one of them, which a file of a few
megabytes can make as slow as it likes. These walks stop as soon as they have seen enough.
"""

from __future__ import annotations

import re
import struct

_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")


def gif_frames(data: bytes, enough: int) -> int:
    """Image blocks in a GIF, at most `enough` + 1 (https://www.w3.org/Graphics/GIF/spec-gif89a.txt).

    A damaged file counts as far as it can be read.
    """
    frames = 0
    try:
        position = 13 + _gif_palette_bytes(data[10])
        while frames <= enough:
            introducer = data[position]
            if introducer == 0x21:  # extension: its label, then sub-blocks
                position = _after_gif_sub_blocks(data, position + 2)
            elif introducer == 0x2C:  # image: descriptor, palette, LZW code size, sub-blocks
                frames += 1
                palette = _gif_palette_bytes(data[position + 9])
                position = _after_gif_sub_blocks(data, position + 10 + palette + 1)
            else:
                break
    except IndexError:
        pass
    return frames


def _gif_palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_gif_sub_blocks(data: bytes, position: int) -> int:
    while length := data[position]:
        position += length + 1
    return position + 1


def tiff_frames(data: bytes, enough: int) -> int:
    """Image file directories of a TIFF or BigTIFF, at most `enough` + 1.

    Directories that form a loop count until `enough`; Pillow would count each of them once.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    count_format, entry_bytes, offset_format = ("Q", 20, "Q") if big else ("H", 12, "I")
    seen: set[int] = set()
    try:
        (offset,) = struct.unpack_from(order + offset_format, data, 8 if big else 4)
        while offset and offset not in seen and len(seen) <= enough:
            seen.add(offset)
            (entries,) = struct.unpack_from(order + count_format, data, offset)
            after = offset + struct.calcsize(count_format) + entries * entry_bytes
            (offset,) = struct.unpack_from(order + offset_format, data, after)
    except (struct.error, OverflowError):  # an offset behind the end, or beyond 2**63
        pass
    return len(seen)


def jpeg_scans(data: bytes, enough: int) -> int:
    """Scans of a JPEG's first image; exact only above `enough`, where it may stop counting.

    Each scan makes libjpeg visit every pixel again, and a scan can be a dozen bytes long
    (https://libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf).
    """
    # Most files are settled by this fast count, which also sees thumbnails and appended videos.
    upper_bound = data.count(b"\xff\xda")
    if upper_bound <= enough:
        return upper_bound
    scans = 0
    position = 2
    while scans <= enough and (marker := _JPEG_MARKER.search(data, position)):
        position = marker.end()
        code = marker[1][0]
        if code == 0xD9:  # end of image
            break
        if code in (0x01, 0xD8):  # these two carry no length
            continue
        scans += code == 0xDA
        position += int.from_bytes(data[position : position + 2], "big")
    return scans
