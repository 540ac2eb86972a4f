"""What a frozen backbone makes of each photo, computed once: a head then learns in seconds."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor, nn

from training.fitting.batches import Indices
from training.fitting.loading import each
from training.fitting.photos import Photos
from training.fitting.rows import Node, Rows, filled

_BATCH = 64


class Features:
    """float32 outputs of the backbone, mapped, not read."""

    def __init__(self, values: Rows, views: int) -> None:
        """Take (views * photos, ...)."""
        self._values, self._views = values, views
        self._photos = len(values) // views

    def batch(self, photos: Indices, views: Indices) -> Tensor:
        """One view each of several photos, float32 (n, ...); views begin anew after the last."""
        rows = views % self._views * self._photos + photos
        return torch.from_numpy(self._values[rows])


def compute_features(
    backbone: nn.Module,
    photos: Photos,
    views: int,
    file: Path,
    node: Node,
    normalised: Callable[[Tensor], Tensor],
    bar: Progress,
    go_on: Callable[[], None],
) -> Features:
    """Run the backbone over so many views of all photos; a complete `file` is taken as it is.

    Args:
        backbone: in evaluation mode, on the device that `normalised` puts photos on.
        node: shares the work, see `filled`.
        bar: gets a task meanwhile.
        go_on: called now and then; what it raises ends the work.

    Raises:
        DatasetError: a photo does not decode.
        OSError: the disk is full.
    """
    with torch.inference_mode():
        first = backbone(normalised(photos[0, 0][None]))

    def batches(mine: range) -> Generator[NDArray[np.float32], None, None]:
        keys = [(row % len(photos), row // len(photos)) for row in mine]
        with closing(each(photos, keys, _BATCH, bar, "frozen backbone")) as loaded:
            for batch in loaded:
                with torch.inference_mode():
                    out = backbone(normalised(batch)).float().cpu().numpy()
                yield out
                go_on()

    shape = (views * len(photos), *first.shape[1:])
    return Features(filled(file, np.float32, shape, node, batches), views)
