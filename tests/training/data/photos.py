"""Data folders to read: small photos that look different, and where a layout wants them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from training.data.dataset import Dataset, Photo


def picture(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """Soft blobs of colour, others for each seed."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def lone_photos(folder: Path, files: Mapping[str, bytes]) -> Dataset:
    """A written set of one class, each photo of an animal of its own."""
    write_files(folder, files)
    return Dataset(folder, ("cat",), tuple(Photo(path, 0, path) for path in sorted(files)))


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, str]]:
    """All that can be told about each file and folder from outside, but for times of access."""
    seen = {}
    for path in sorted(folder.rglob("*")):
        found = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        name = path.relative_to(folder).as_posix()
        seen[name] = (found.st_mode, found.st_size, found.st_mtime_ns, content)
    return seen
