"""Work in threads, some of it ahead of its use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[Sequence[T]], list[R]]


def in_chunks(
    items: Sequence[T],
    size: int,
    work: Work[T, R],
    pool: ThreadPoolExecutor | None,
    group: Callable[[T], int],
) -> Iterator[list[R]]:
    """What `work` makes of the items, of `size` items at a time, in their order.

    Args:
        work: items of one group -> what it makes of them, perhaps less.
        pool: of at least two threads; it works at the next chunk while the caller has one. None:
            each chunk is worked at when it is asked for.
        group: items next to each other that have the same number here share something, so they are
            worked at in turn, also from one chunk to the next.
    """
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    if pool is None:
        yield from (work(chunk) for chunk in chunks)
        return
    last: dict[int, Future[list[R]]] = {}
    ahead: list[list[Future[list[R]]]] = []
    for chunk in chunks:
        ahead.append([])
        for number, members in groupby(chunk, group):
            # What came before has been submitted before, so a thread never waits for one that
            # there is none left for.
            last[number] = pool.submit(_after, last.get(number), work, list(members))
            ahead[-1].append(last[number])
        if len(ahead) > 1:
            yield _results(ahead.pop(0))
    for begun in ahead:
        yield _results(begun)


def _after(before: Future[list[R]] | None, work: Work[T, R], items: Sequence[T]) -> list[R]:
    if before is not None:
        before.result()
    return work(items)


def _results(begun: Sequence[Future[list[R]]]) -> list[R]:
    return [result for each in begun for result in each.result()]
