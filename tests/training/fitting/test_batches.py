from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.fitting.batches import Batches, share_of

SIZES = st.integers(1, 60)


def of(photos: int, batch_size: int, seed: int = 0) -> Batches:
    return Batches(np.arange(photos) % 3, batch_size, "none", seed)


@given(photos=SIZES, batch_size=SIZES, seed=st.integers(0, 99))
def test_each_epoch_takes_each_photo_once(photos: int, batch_size: int, seed: int) -> None:
    batches = of(photos, batch_size, seed)
    for epoch in range(2):
        first = epoch * batches.per_epoch
        steps = [batches.step(step) for step in range(first, first + batches.per_epoch)]
        assert sorted(np.concatenate(steps)) == list(range(photos))
        assert {batches.epoch(first + n) for n in range(len(steps))} == {epoch}
        assert all(len(step) == batch_size for step in steps[:-1])


@given(photos=SIZES, batch_size=SIZES, step=st.integers(0, 200))
def test_a_step_is_the_same_whenever_it_is_asked_for(
    photos: int, batch_size: int, step: int
) -> None:
    later = of(photos, batch_size)
    before = [later.step(number) for number in range(step)]
    assert np.array_equal(later.step(step), of(photos, batch_size).step(step))
    assert later.photos_before(step) == sum(map(len, before))


def test_epochs_and_seeds_differ_in_order() -> None:
    batches = of(50, 50)
    assert not np.array_equal(batches.step(0), batches.step(1))
    assert not np.array_equal(batches.step(0), of(50, 50, seed=1).step(0))


@given(size=SIZES, world=st.integers(1, 8), micro_batch=st.integers(1, 20))
def test_processes_share_a_batch_without_loss_or_overlap(
    size: int, world: int, micro_batch: int
) -> None:
    batch = np.arange(size)
    shares = [share_of(batch, rank, world, micro_batch) for rank in range(world)]
    taken = [chunk for share in shares if share.counts for chunk in share.micro_batches]
    assert sorted(np.concatenate(taken)) == list(range(size))
    assert all(len(chunk) <= micro_batch for chunk in taken)
    for share in shares:
        for chunk, place in zip(share.micro_batches, share.places, strict=True):
            assert np.array_equal(batch[place : place + len(chunk)], chunk)
    # All take part, also where there are fewer photos than processes.
    assert all(share.micro_batches for share in shares)


def test_balanced_sampling_draws_each_class_as_often() -> None:
    labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
    drawn = Batches(labels, 1000, "balanced-sampling", 3).step(0)
    counts = np.bincount(labels[drawn], minlength=3)
    assert counts.sum() == 1000
    assert all(abs(count - 333) < 75 for count in counts)
