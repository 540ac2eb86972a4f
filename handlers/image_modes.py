"""Pixels of any Pillow mode -> RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image

_BITS_PER_SAMPLE = 258  # TIFF 6.0 tag


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any Pillow mode to RGB, transparency over white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _greyscale_8_bit(image).convert("RGB")
    if image.mode in ("La", "RGBa"):  # premultiplied alpha converts to its own straight form only
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _greyscale_8_bit(image: Image.Image) -> Image.Image:
    """Scale to 0..255 by the range of the values; Pillow's own conversion clips at 255."""
    values = np.asarray(image)
    transparent = image.info.get("transparency")
    see_through = values == transparent if isinstance(transparent, int) else None
    if image.mode == "F":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = _value_range(image, values)
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    grey = scaled.round().clip(0, 255).astype(np.uint8)
    if see_through is not None:
        grey[see_through] = 255
    return Image.fromarray(grey)


def _value_range(image: Image.Image, values: np.ndarray) -> tuple[float, float]:
    """What is black and what is white.

    16-bit modes say it themselves. 32-bit integers and floats do not: the usual ranges are
    tried from the narrowest, and anything else is stretched from its own darkest to lightest.
    """
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE)
        return 0, 4095 if bits == (12,) else 65535
    low, high = float(values.min()), float(values.max())
    usual = (1, 255, 65535) if image.mode == "F" else (255, 65535)
    for white in usual:
        if low >= 0 and high <= white:
            return 0, white
    return low, max(high, low + 1)  # one value everywhere has no range
