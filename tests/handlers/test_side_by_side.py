from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.side_by_side import in_chunks

# (group, number): groups lie next to each other.
ITEMS = st.lists(st.integers(1, 5), max_size=8).map(
    lambda sizes: [(group, number) for group, size in enumerate(sizes) for number in range(size)]
)


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as running:
        yield running


@given(items=ITEMS, size=st.integers(1, 6))
def test_threads_change_nothing_but_the_time(
    pool: ThreadPoolExecutor, items: list[tuple[int, int]], size: int
) -> None:
    done: dict[int, list[int]] = {}

    def work(some: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        for group, number in some:
            done.setdefault(group, []).append(number)
        return [each for each in some if each[1] != 2]

    made = list(in_chunks(items, size, work, pool, lambda item: item[0]))
    assert made == list(in_chunks(items, size, lambda some: work(some), None, lambda item: item[0]))
    # The members of a group in turn, with threads and without.
    assert all(numbers == [*range(len(numbers) // 2)] * 2 for numbers in done.values())


def test_the_next_chunk_is_worked_at_while_the_caller_has_one(pool: ThreadPoolExecutor) -> None:
    begun = [threading.Event() for _ in range(3)]

    def work(some: Sequence[int]) -> list[int]:
        for each in some:
            begun[each].set()
        return list(some)

    chunks = in_chunks([0, 1, 2], 1, work, pool, lambda item: item)
    assert next(chunks) == [0]
    assert begun[1].wait(10)
    assert list(chunks) == [[1], [2]]


def test_an_error_of_the_work_reaches_the_caller(pool: ThreadPoolExecutor) -> None:
    def work(some: Sequence[int]) -> list[int]:
        raise ValueError(f"cannot: {some}")

    with pytest.raises(ValueError, match="cannot"):
        list(in_chunks([1, 2], 1, work, pool, lambda item: item))
