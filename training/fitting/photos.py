"""Photos as uint8 tensors: decoded, and shown in one of their views.

Nothing here grows with the number of photos but the list of their paths.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import Dataset

from handlers.config import Limits
from handlers.images import decode_image
from handlers.preprocessing import Preprocessing
from handlers.problems import Problem
from training.data.dataset import DatasetError, Photo
from training.fitting.augmentation import Augmentation
from training.fitting.loading import Key, each
from training.fitting.rows import Node, Rows, filled


class Photos(Dataset[Tensor]):
    """uint8 (3, height, width), by key."""

    def __init__(
        self,
        folder: Path,
        photos: Sequence[Photo],
        preprocessing: Preprocessing,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        """Take photos below `folder`; without an augmentation there is view 0 alone."""
        self.labels = np.array([photo.label for photo in photos], dtype=np.int64)
        self._folder = folder
        self._paths = [photo.path for photo in photos]
        self._preprocessing = preprocessing
        self._augmentation = augmentation
        self._seed = seed
        self._cache: Rows | None = None

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, key: Key) -> Tensor:
        """One view.

        Raises:
            DatasetError: the file is gone or does not decode (any more).
        """
        index, view = key
        if self._cache is not None:
            image = Image.fromarray(np.asarray(self._cache[index]))
        elif self._augmentation is not None and view:
            # A crop may be enlarged, so all of the photo's pixels are wanted.
            image = self._decoded(index, None)
        else:
            image = self._decoded(index, self._preprocessing.decoded_side)
        if self._augmentation is not None and view:
            # numpy mixes the three, so that no two views of any photos share their numbers.
            seed = int(np.random.SeedSequence((self._seed, index, view)).generate_state(1)[0])
            vary = self._augmentation if self._cache is None else self._augmentation.vary
            image = vary(image, seed)
        elif self._cache is None:
            image = self._preprocessing.resized(image)
        return torch.from_numpy(np.array(image).transpose(2, 0, 1))

    def cache(self, file: Path, node: Node, bar: Progress) -> None:
        """Decode all photos once, into `file`; one that is complete is taken as it is.

        Args:
            node: shares the work, see `filled`.
            bar: gets a task meanwhile.

        Raises:
            DatasetError: a file does not decode.
            OSError: the disk is full.
        """

        def batches(mine: range) -> Generator[NDArray[np.uint8], None, None]:
            with closing(each(self, [(row, 0) for row in mine], 64, bar, "decoding")) as decoded:
                for batch in decoded:
                    yield batch.permute(0, 2, 3, 1).numpy()

        shape = (len(self), *self._preprocessing.size, 3)
        self._cache = filled(file, np.uint8, shape, node, batches)

    def _decoded(self, index: int, side: int | None) -> Image.Image:
        path = self._paths[index]
        try:
            return decode_image((self._folder / path).read_bytes(), Limits(), side)
        except Problem as problem:
            raise DatasetError(f"{path}: {problem.detail}") from None
        except OSError as error:
            raise DatasetError(f"{path}: {error.strerror}") from None


def normaliser(preprocessing: Preprocessing, device: torch.device) -> Callable[[Tensor], Tensor]:
    """uint8 (n, 3, h, w) -> what `preprocessing` gives for these pixels, channels last, there."""
    mean = torch.tensor(preprocessing.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=device).view(1, 3, 1, 1)

    def normalised(batch: Tensor) -> Tensor:
        values = batch.to(device, non_blocking=True).float() / 255
        return ((values - mean) / std).to(memory_format=torch.channels_last)

    return normalised
