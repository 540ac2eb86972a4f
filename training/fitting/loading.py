"""Photos are loaded ahead of the network, by processes of their own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import groupby

import torch
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.data.dataset import DatasetError

# Number of a photo and of its view. View 0 is what evaluation sees; view n > 0 the n-th augmented.
Key = tuple[int, int]

_AHEAD = 4
# How often it is looked whether the loaders live; and how long a batch may take, on the slowest of
# disks. Without a limit, loaders that hang would hold up training for good.
_LOOK_S, _PATIENCE_S = 5, 600


def load(photos: Dataset[Tensor], batches: Iterable[list[Key]]) -> Generator[Tensor, None, None]:
    """Batches of photos, uint8 (n, 3, height, width), some of them ahead of their use.

    Raises:
        DatasetError: as of `Photos`; or a loader was killed, or hangs.
    """
    # A machine's cores decode while the network waits for a GPU, or share the cores with it.
    workers = min(8, len(os.sched_getaffinity(0)))
    loader = DataLoader(
        photos,
        batch_sampler=batches,
        num_workers=workers,
        prefetch_factor=_AHEAD,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_prepare_worker,
        timeout=_LOOK_S,
    )
    loaded = iter(loader)
    if threading.current_thread() is threading.main_thread():
        # torch's handler would tell of a dead loader in the midst of whatever runs then, such as a
        # step, which could not be saved after that. It is found out here instead.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield from _patiently(loaded)
    except DatasetError as error:
        # DataLoader puts the traceback of its worker before our one line.
        raise DatasetError(str(error).rpartition("DatasetError: ")[2].strip()) from None
    except (RuntimeError, OSError, EOFError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader"):
            raise
        # Killed, as when memory is short; what is said is where it was noticed first.
        raise DatasetError(f"a loader of photos came to an end: {error}") from error
    finally:
        # Now: what is left to the end of Python waits for workers that heed no signal.
        loaded._shutdown_workers()  # type: ignore[attr-defined]


def _patiently(loaded: Iterator[Tensor]) -> Iterator[Tensor]:
    waited = 0
    while True:
        try:
            batch = next(loaded)
        except StopIteration:
            return
        except RuntimeError as error:
            waited += _LOOK_S
            if "timed out" not in str(error) or waited >= _PATIENCE_S:
                raise
            continue
        waited = 0
        yield batch


def each(
    photos: Dataset[Tensor], keys: list[Key], batch_size: int, bar: Progress, name: str
) -> Generator[Tensor, None, None]:
    """All of `keys` in order, as a task of that name; a batch holds photos of one view."""
    # The plain view may have another size than the others.
    views = [list(group) for _, group in groupby(keys, key=lambda key: key[1])]
    chunks = [view[i : i + batch_size] for view in views for i in range(0, len(view), batch_size)]
    task = bar.add_task(name, total=len(keys))
    try:
        with closing(load(photos, chunks)) as loaded:
            for batch in loaded:
                yield batch
                bar.advance(task, len(batch))
    finally:
        bar.remove_task(task)


def _prepare_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    # Both may reach all processes of a group; the one that trains decides what happens then, and
    # workers end when it does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
