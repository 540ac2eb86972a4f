"""An upright RGB photo -> the network's input: the one function of evaluation and worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as shorten
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

Interpolation = Literal["bilinear", "bicubic"]

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
LARGEST_SIDE = 4096
# Photos are on the scale 0..1, so that these leave room. Without them a std of 1e-320 would pass,
# which is 0 in float32.
_LARGEST_MEAN, _SMALLEST_STD, _LARGEST_STD = 1000.0, 1e-3, 1000.0
# A photo is decoded at so many times the size that it is resized to, at least. The decoder's
# reduction by k blurs as a box of k pixels does; beside the resizing's own triangle of s pixels
# that is a part of k^2 / 2 s^2, with 5 too little to change an answer (docs/performance.md).
_DECODED_TIMES = 5


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop, scale to 0..1, normalise.

    Attributes:
        resize: int: the short side, the aspect ratio is kept; (height, width): both sides.
        crop: side of the central square that is kept; None: no crop, which needs both sides
            of `resize`, as a batch holds inputs of one size.
        interpolation: with antialiasing, as Pillow does it.
        mean: subtracted from each channel, on the 0..1 scale.
        std: each channel is divided by it, on the 0..1 scale.

    Raises:
        ValueError: a wrong type or an impossible value, naming the key and what is allowed.
    """

    resize: int | tuple[int, int]
    crop: int | None
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if isinstance(self.resize, tuple):
            if len(self.resize) != 2 or not all(_is_side(side) for side in self.resize):
                _refuse("resize", self.resize, f"(height, width), each 1 to {LARGEST_SIDE}")
        elif not _is_side(self.resize):
            _refuse("resize", self.resize, f"1 to {LARGEST_SIDE}, or (height, width)")
        if self.crop is None and isinstance(self.resize, int):
            _refuse("crop", self.crop, "a side, as resize keeps the aspect ratio")
        shortest = self.resize if isinstance(self.resize, int) else min(self.resize)
        if self.crop is not None and not (_is_side(self.crop) and self.crop <= shortest):
            _refuse("crop", self.crop, f"1 to {shortest} (the shorter side of resize), or none")
        if self.interpolation not in get_args(Interpolation):
            _refuse("interpolation", self.interpolation, f"one of {get_args(Interpolation)}")
        if not _are_channels(self.mean, -_LARGEST_MEAN, _LARGEST_MEAN):
            _refuse(
                "mean", self.mean, f"three numbers, each {-_LARGEST_MEAN:g} to {_LARGEST_MEAN:g}"
            )
        if not _are_channels(self.std, _SMALLEST_STD, _LARGEST_STD):
            _refuse("std", self.std, f"three numbers, each {_SMALLEST_STD:g} to {_LARGEST_STD:g}")

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; JSON's lists become tuples.

        Raises:
            ValueError: an unknown or missing key, a wrong type or an impossible value.
        """
        allowed = [field.name for field in dataclasses.fields(cls)]
        for key in d:
            if key not in allowed:
                raise ValueError(f"preprocessing: unknown key {key!r}; allowed keys: {allowed}")
        for key in allowed:
            if key not in d:
                raise ValueError(f"preprocessing: {key!r} is missing; needed keys: {allowed}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in d.items()}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able mapping of all fields."""
        values = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the output."""
        if self.crop is not None:
            return self.crop, self.crop
        if isinstance(self.resize, int):  # ruled out by __post_init__
            raise TypeError("resize keeps the aspect ratio and there is no crop")
        return self.resize

    @property
    def decoded_side(self) -> int:
        """Pixels of a photo's shorter side that are enough for what `__call__` makes of it: the
        `side` of `handlers.images.decode_image`, in evaluation and in the worker alike."""
        longest = self.resize if isinstance(self.resize, int) else max(self.resize)
        return _DECODED_TIMES * longest

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Preprocess one photo.

        Args:
            image: mode RGB, any size.

        Returns:
            float32 tensor of shape (3, height, width), contiguous.

        Raises:
            ValueError: the image is not RGB.
        """
        # Not above: a recipe is read with this module, and who only reads one, or looks at a data
        # folder, should not wait for torch, nor need the 500 MB of memory that it takes.
        import torch

        if image.mode != "RGB":
            raise ValueError(f"image: mode {image.mode} is not allowed; RGB is")
        values = np.asarray(self.resized(image), dtype=np.float32) / np.float32(255)
        values -= np.asarray(self.mean, dtype=np.float32)
        values /= np.asarray(self.std, dtype=np.float32)
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))

    def resized(self, image: Image.Image) -> Image.Image:
        """The centre crop of the resized image, computed without resizing the rest of it.

        Sizes and offsets round as in torchvision's Resize and CenterCrop, whose pixels these are
        but for a step or two of 255: Pillow may take its two passes in the other order. Resizing
        the whole first would let a photo of 1 x 50,000,000 pixels ask for too much memory.
        """
        height, width = self._resized_size(image)
        out_height, out_width = self.size
        top, left = round((height - out_height) / 2), round((width - out_width) / 2)
        down, across = image.height / height, image.width / width
        box = (
            left * across,
            top * down,
            # Rounding may carry a product past the edge, which Pillow refuses.
            min((left + out_width) * across, image.width),
            min((top + out_height) * down, image.height),
        )
        return image.resize((out_width, out_height), _RESAMPLING[self.interpolation], box=box)

    def _resized_size(self, image: Image.Image) -> tuple[int, int]:
        if not isinstance(self.resize, int):
            return self.resize
        short, long = sorted(image.size)
        long = int(self.resize * long / short)
        return (long, self.resize) if image.height >= image.width else (self.resize, long)


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_SIDE


def _are_channels(values: object, least: float, most: float) -> bool:
    """Three numbers in that range; comparing takes whole numbers of any length, and no nan."""
    return (
        isinstance(values, tuple)
        and len(values) == 3
        and all(
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and least <= value <= most
            for value in values
        )
    )


def _refuse(key: str, value: object, allowed: str) -> None:
    raise ValueError(f"preprocessing: {key}: {shorten(value)} is not allowed; {allowed} is")
