"""A file of arrays, one for each photo, that the processes of a machine fill together."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from numpy.typing import DTypeLike, NDArray

Rows = np.memmap[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Node:
    """The processes of one machine, which share its cores and a disk.

    Attributes:
        local_rank: of this process among them.
        first_rank: rank of the first of them among all, which tells machines apart.
        wait: until all processes of all machines are there.
    """

    local_rank: int
    local_world_size: int
    first_rank: int
    wait: Callable[[], object]

    def share(self, rows: int) -> range:
        """Which rows this process fills."""
        first, end = (
            rows * rank // self.local_world_size for rank in (self.local_rank, self.local_rank + 1)
        )
        return range(first, end)


def node_of(accelerator: Accelerator) -> Node:
    """By what torchrun says, https://docs.pytorch.org/docs/stable/elastic/run.html; without that
    each process is by itself."""
    size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    rank = accelerator.local_process_index if size > 1 else 0
    wait = accelerator.wait_for_everyone
    return Node(rank, size, accelerator.process_index - rank, wait)


def filled(
    file: Path,
    dtype: DTypeLike,
    shape: tuple[int, ...],
    node: Node,
    batches: Callable[[range], Generator[NDArray[Any], None, None]],
) -> Rows:
    """The rows, mapped, not read; a complete file is taken as it is.

    All processes of all machines must call this, as they wait for each other. What one of them
    raises ends its part alone; the file does not become complete then.

    Args:
        shape: (rows, ...).
        batches: called with the rows that are this process's, which it gives in order.

    Raises:
        OSError: the disk is full.
    """
    partial = file.with_name(f"{file.name}.partial")
    # Asked before anybody can have completed it.
    complete, is_first = file.exists(), node.local_rank == 0
    if not complete and is_first:
        partial.unlink(missing_ok=True)
        rows = np.memmap(partial, dtype, "w+", shape=shape)
        # Room is taken now: a write beyond a full disk would kill the process (SIGBUS).
        with partial.open("r+b") as whole:
            os.posix_fallocate(whole.fileno(), 0, rows.nbytes)
    node.wait()
    if not complete:
        rows = np.memmap(partial, dtype, "r+", shape=shape)
        mine = node.share(len(rows))
        done = mine.start
        with closing(batches(mine)) as made:
            for batch in made:
                rows[done : done + len(batch)] = batch
                done += len(batch)
        rows.flush()
    node.wait()
    if not complete and is_first:
        partial.replace(file)
    node.wait()
    return np.memmap(file, dtype, "r", shape=shape)
