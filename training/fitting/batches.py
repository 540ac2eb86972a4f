"""Which photos a step takes: pure functions of seed and step, so that a resumed run asks again.

Photos are counted from 0 in the training part. Each epoch is a new order of all of them; its last
batch may be smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Imbalance = Literal["none", "balanced-sampling", "logit-adjustment"]


@dataclass(frozen=True, eq=False)
class Batches:
    """The steps of a phase.

    Attributes:
        labels: int64 (N,) of the training photos.
        batch_size: photos a step, of all processes together.
        imbalance: "balanced-sampling" draws each class as often, with replacement.
    """

    labels: Indices
    batch_size: int
    imbalance: Imbalance
    seed: int

    @property
    def per_epoch(self) -> int:
        """Steps in which each photo is taken once (or as many photos are drawn)."""
        return -(-len(self.labels) // self.batch_size)

    def epoch(self, step: int) -> int:
        """The epoch of a step, both counted from 0."""
        return step // self.per_epoch

    def step(self, step: int) -> Indices:
        """Photos of a step, int64 (up to batch_size,)."""
        start = step % self.per_epoch * self.batch_size
        return self._order(self.epoch(step))[start : start + self.batch_size]

    def view(self, step: int, place: int) -> int:
        """Which view of a photo is shown at a place of a step's batch: a new one each time.

        View 0 is the plain one, as evaluation sees it.
        """
        epoch = self.epoch(step)
        if self.imbalance != "balanced-sampling":
            return epoch + 1
        # A rare photo comes often in an epoch.
        return self.photos_before(step) + place + 1

    def photos_before(self, step: int) -> int:
        """How many photos the steps before this one take."""
        epochs, rest = divmod(step, self.per_epoch)
        return epochs * len(self.labels) + rest * self.batch_size

    @lru_cache(maxsize=1)  # noqa: B019  (one order, as long as the object lives)
    def _order(self, epoch: int) -> Indices:
        random = np.random.default_rng((self.seed, epoch))
        count = len(self.labels)
        if self.imbalance != "balanced-sampling":
            return random.permutation(count)
        share = 1.0 / np.bincount(self.labels)[self.labels]
        return random.choice(count, count, p=share / share.sum())


@dataclass(frozen=True)
class Share:
    """What one process does of a step.

    Attributes:
        micro_batches: photos that go through the network together, in turn.
        places: where in the batch each of them begins.
        counts: False where a process has nothing to do: it computes one photo for nothing, as all
            processes must take part in every step.
    """

    micro_batches: tuple[Indices, ...]
    places: tuple[int, ...]
    counts: bool


def share_of(batch: Indices, rank: int, world: int, micro_batch: int) -> Share:
    """The part of a batch that process `rank` of `world` takes."""
    parts = np.array_split(batch, world)
    part, begin = parts[rank], sum(map(len, parts[:rank]))
    counts = len(part) > 0
    if not counts:
        part, begin = batch[:1], 0
    starts = range(0, len(part), micro_batch)
    chunks = tuple(part[start : start + micro_batch] for start in starts)
    return Share(chunks, tuple(begin + start for start in starts), counts)


def shares(
    batches: Batches, first: int, end: int, rank: int, world: int, micro_batch: int
) -> Iterator[tuple[int, Share]]:
    """(step, share of the process) from step `first` to before `end`."""
    for step in range(first, end):
        yield step, share_of(batches.step(step), rank, world, micro_batch)
