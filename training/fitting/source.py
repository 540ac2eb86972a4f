"""What a phase learns from: photos, or what a frozen backbone has made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from training.fitting.batches import Batches, Indices, Share, shares
from training.fitting.features import Features
from training.fitting.photos import Key, Photos, load

_EVALUATED_AT_ONCE = 64


class Source(Protocol):
    """Inputs of the module that is trained, on its device."""

    labels: Indices

    def steps(
        self, batches: Batches, first: int, end: int, rank: int, world: int
    ) -> Iterator[tuple[Share, Iterator[Tensor]]]:
        """The share of this process, and the inputs of its micro-batches, for each step from
        `first` to before `end`."""

    def plain(self, indices: Indices) -> Iterator[Tensor]:
        """Inputs of these photos in order, as evaluation sees them, in batches."""


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
    ) -> Iterator[tuple[Share, Iterator[Tensor]]]:
        """See `Source`.

        Raises:
            DatasetError: a photo is gone or does not decode any more.
        """

        def keys() -> Iterator[list[Key]]:
            for step, share in shares(batches, first, end, rank, world, self._micro_batch):
                for chosen in share.micro_batches:
                    # View 0 is the plain one: that of an epoch comes after it.
                    yield [(int(photo), batches.epoch(step) + 1) for photo in chosen]

        loaded = map(self._normalised, load(self._photos, keys()))
        for _step, share in shares(batches, first, end, rank, world, self._micro_batch):
            yield share, loaded

    def plain(self, indices: Indices) -> Iterator[Tensor]:
        """See `Source`."""
        chunks = _chunks(indices)
        keys = ([(int(photo), 0) for photo in chosen] for chosen in chunks)
        return map(self._normalised, load(self._photos, keys))


class FeatureSource:
    """What came out of a backbone, once, for a few views of each photo."""

    def __init__(
        self, features: Features, labels: Indices, micro_batch: int, device: torch.device
    ) -> None:
        self.labels = labels
        self._features, self._micro_batch, self._device = features, micro_batch, device

    def steps(
        self, batches: Batches, first: int, end: int, rank: int, world: int
    ) -> Iterator[tuple[Share, Iterator[Tensor]]]:
        """See `Source`."""
        for step, share in shares(batches, first, end, rank, world, self._micro_batch):
            epoch = batches.epoch(step)
            yield share, iter([self._batch(chosen, epoch) for chosen in share.micro_batches])

    def plain(self, indices: Indices) -> Iterator[Tensor]:
        """See `Source`."""
        return (self._batch(chosen, 0) for chosen in _chunks(indices))

    def _batch(self, photos: Indices, view: int) -> Tensor:
        return self._features.batch(photos, view).to(self._device)


def _chunks(indices: Indices) -> list[Indices]:
    count = -(-len(indices) // _EVALUATED_AT_ONCE)
    return [np.asarray(chunk) for chunk in np.array_split(indices, max(count, 1)) if len(chunk)]
