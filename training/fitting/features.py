"""What a frozen backbone makes of each photo, computed once: a head then learns in seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn

from training.fitting.batches import Indices
from training.fitting.loading import each
from training.fitting.photos import Photos

_BATCH = 64


class Features:
    """float32 outputs of the backbone, in a file that is mapped, not read."""

    def __init__(self, file: Path, shape: tuple[int, ...], views: int) -> None:
        """Open a complete file of `shape`: (views * photos, ...)."""
        self._values = np.memmap(file, np.float32, "r", shape=shape)
        self._views = views
        self._photos = shape[0] // views

    def batch(self, photos: Indices, views: Indices) -> Tensor:
        """One view each of several photos, float32 (n, ...); views begin anew after the last."""
        rows = views % self._views * self._photos + photos
        return torch.from_numpy(self._values[rows])


def compute_features(
    backbone: nn.Module,
    photos: Photos,
    views: int,
    file: Path,
    normalised: Callable[[Tensor], Tensor],
    bar: Progress,
    go_on: Callable[[], None],
) -> Features:
    """Run the backbone over so many views of all photos; a complete `file` is taken as it is.

    Args:
        backbone: in evaluation mode, on the device that `normalised` puts photos on.
        bar: gets a task meanwhile.
        go_on: called now and then; what it raises ends the work.

    Raises:
        DatasetError: a photo does not decode.
        OSError: the disk is full.
    """
    with torch.inference_mode():
        first = backbone(normalised(photos[0, 0][None]))
    shape = (views * len(photos), *first.shape[1:])
    if not file.exists():
        partial = file.with_name(f"{file.name}.partial")
        partial.unlink(missing_ok=True)
        values = np.memmap(partial, np.float32, "w+", shape=shape)
        # Room is taken now: a write beyond a full disk would kill the process (SIGBUS).
        with partial.open("r+b") as whole:
            os.posix_fallocate(whole.fileno(), 0, values.nbytes)
        keys = [(photo, view) for view in range(views) for photo in range(len(photos))]
        done = 0
        with closing(each(photos, keys, _BATCH, bar, "frozen backbone")) as batches:
            for batch in batches:
                with torch.inference_mode():
                    out = backbone(normalised(batch)).float().cpu().numpy()
                values[done : done + len(out)] = out
                done += len(out)
                go_on()
        values.flush()
        partial.replace(file)
    return Features(file, shape, views)
