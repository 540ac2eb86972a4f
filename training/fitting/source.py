"""What a phase learns from: photos, or what a frozen backbone has made of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from training.fitting.batches import Batches, Indices, Share, shares
from training.fitting.features import Features
from training.fitting.loading import Key, load
from training.fitting.photos import Photos

_EVALUATED_AT_ONCE = 64


class Source(Protocol):
    """Inputs of the module that is trained."""

    labels: Indices

    def steps(
        self, batches: Batches, first: int, end: int, rank: int, world: int
    ) -> Generator[tuple[Share, list[Tensor]], None, None]:
        """The share of this process, and its micro-batches on the CPU, for each step from `first`
        to before `end`."""

    def plain(self, indices: Indices) -> Iterator[Tensor]:
        """These photos in order, as evaluation sees them, in batches on the CPU."""

    def prepared(self, batch: Tensor) -> Tensor:
        """What goes into the module, on its device."""


class PhotoSource:
    """Photos, other in each epoch."""

    def __init__(
        self, photos: Photos, micro_batch: int, normalised: Callable[[Tensor], Tensor]
    ) -> None:
        """Photos go through `normalised`, which puts them on the device."""
        self.labels = photos.labels
        self._photos, self._micro_batch, self._normalised = photos, micro_batch, normalised

    def steps(
        self, batches: Batches, first: int, end: int, rank: int, world: int
    ) -> Generator[tuple[Share, list[Tensor]], None, None]:
        """See `Source`.

        Raises:
            DatasetError: a photo is gone or does not decode any more.
        """

        def keys() -> Iterator[list[Key]]:
            for step, share in shares(batches, first, end, rank, world, self._micro_batch):
                for chosen, place in zip(share.micro_batches, share.places, strict=True):
                    yield [
                        (int(photo), batches.view(step, place + number))
                        for number, photo in enumerate(chosen)
                    ]

        with closing(load(self._photos, keys())) as loaded:
            for _step, share in shares(batches, first, end, rank, world, self._micro_batch):
                yield share, list(islice(loaded, len(share.micro_batches)))

    def plain(self, indices: Indices) -> Iterator[Tensor]:
        """See `Source`."""
        return load(self._photos, ([(int(photo), 0) for photo in c] for c in _chunks(indices)))

    def prepared(self, batch: Tensor) -> Tensor:
        """See `Source`."""
        return self._normalised(batch)


class FeatureSource:
    """What came out of a backbone, once, for a few views of each photo."""

    def __init__(
        self, features: Features, labels: Indices, micro_batch: int, device: torch.device
    ) -> None:
        self.labels = labels
        self._features, self._micro_batch, self._device = features, micro_batch, device

    def steps(
        self, batches: Batches, first: int, end: int, rank: int, world: int
    ) -> Generator[tuple[Share, list[Tensor]], None, None]:
        """See `Source`."""
        for step, share in shares(batches, first, end, rank, world, self._micro_batch):
            micro_batches = [
                self._features.batch(
                    chosen, np.array([batches.view(step, place + n) for n in range(len(chosen))])
                )
                for chosen, place in zip(share.micro_batches, share.places, strict=True)
            ]
            yield share, micro_batches

    def plain(self, indices: Indices) -> Iterator[Tensor]:
        """See `Source`."""
        return (self._features.batch(c, np.zeros_like(c)) for c in _chunks(indices))

    def prepared(self, batch: Tensor) -> Tensor:
        """See `Source`."""
        return batch.to(self._device)


def _chunks(indices: Indices) -> list[Indices]:
    starts = range(0, len(indices), _EVALUATED_AT_ONCE)
    return [indices[start : start + _EVALUATED_AT_ONCE] for start in starts]
