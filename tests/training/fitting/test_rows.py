"""Processes of a machine fill a file together: each row once, and whole or not at all."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.fitting.rows import Node, Rows, filled

SHAPE = (7, 2, 3)


def together(
    file: Path, processes: int, asked: list[int], fails: int | None = None
) -> list[Rows | BaseException]:
    """What each of so many processes gets, here threads; `fails` raises amid its part.

    The rows that any of them computes come into `asked`.
    """
    barrier = Barrier(processes, timeout=20)

    def process(rank: int) -> Rows:
        def batches(mine: range) -> Generator[NDArray[np.float32], None, None]:
            for number, row in enumerate(mine):
                if rank == fails and number == 1:
                    raise ValueError("rotten")
                asked.append(row)
                yield np.full((1, *SHAPE[1:]), 10 * rank + number + 1, np.float32)

        try:
            return filled(file, np.float32, SHAPE, Node(rank, processes, 0, barrier.wait), batches)
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(processes) as pool:
        futures = [pool.submit(process, rank) for rank in range(processes)]
        return [each.exception() or each.result() for each in futures]


@pytest.mark.parametrize("processes", [1, 2, 3, 9])
def test_all_get_all_rows(tmp_path: Path, processes: int) -> None:
    file = tmp_path / "rows"
    asked: list[int] = []
    for found in together(file, processes, asked):
        assert isinstance(found, np.memmap)
        assert found.shape == SHAPE
        assert found.all()
        assert len(np.unique(found)) == len(found)
    assert [each.name for each in tmp_path.iterdir()] == ["rows"]
    before = file.read_bytes()
    assert all(isinstance(found, np.memmap) for found in together(file, processes, asked))
    assert file.read_bytes() == before
    # Each row once, and none again.
    assert sorted(asked) == list(range(SHAPE[0]))


@pytest.mark.parametrize("fails", [0, 1])
def test_where_one_fails_nothing_is_complete_until_it_is_done_anew(
    tmp_path: Path, fails: int
) -> None:
    file = tmp_path / "rows"
    found = together(file, 2, [], fails)
    assert isinstance(found[fails], ValueError)
    assert isinstance(found[1 - fails], BrokenBarrierError)
    assert not file.exists()
    assert all(isinstance(each, np.memmap) for each in together(file, 2, []))


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_shares_are_in_order_without_gap_and_alike(rows: int, processes: int) -> None:
    shares = [Node(rank, processes, 0, lambda: None).share(rows) for rank in range(processes)]
    assert [row for share in shares for row in share] == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
