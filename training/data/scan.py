"""Looks into every photo once: does it decode, and of which others is it a copy?

What a scan finds is kept (see `scan_cache`), so that the next one looks only at what has changed,
and one that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import scan_cache
from training.data.clusters import Clusters
from training.data.dataset import Dataset, DatasetError
from training.data.looks import alike_firsts
from training.data.photo_facts import PhotoFacts, read_facts_of
from training.data.scan_cache import COMPARABLE, UNDECODABLE, UNKNOWN, FactsTable
from training.progress import progress_bar

_CHUNK = 32
# Fewer are decoded here, before processes would have started.
_WORTH_PROCESSES = 200
_SECONDS_BETWEEN_SAVES = 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Scan:
    """What the files of a data set hold.

    Attributes:
        undecodable: path -> why; these are in no group.
        sizes: (photos, 2), uint32, width and height in px, upright, in the order of the data set's
            photos; 0 where undecodable.
        exact: groups of paths of files with the same bytes, at least two in each.
        near: groups of paths of photos that look the same, directly or through others (see
            `looks`), at least two different files in each; exact copies of a member are members.
    """

    undecodable: Mapping[str, str]
    sizes: NDArray[np.uint32]
    exact: tuple[tuple[str, ...], ...]
    near: tuple[tuple[str, ...], ...]


def scan(dataset: Dataset) -> Scan:
    """Decode every photo with the default limits of a request.

    Ctrl-C leaves what was found so far in the cache.

    Raises:
        DatasetError: a process that decodes was killed, as where memory runs out.
    """
    table = FactsTable.empty([photo.path for photo in dataset.photos])
    _identify(dataset.folder, table)
    if (kept := scan_cache.load(dataset.folder)) is not None:
        table.take_over(kept)
    missing = np.flatnonzero(table.rows["state"] == UNKNOWN).tolist()
    if missing:
        try:
            _fill(dataset.folder, table, missing)
        finally:
            _keep(dataset.folder, table)
    exact = _exact_groups(table)
    return Scan(
        undecodable={table.paths[row]: why for row, why in sorted(table.errors.items())},
        sizes=np.stack([table.rows["width"], table.rows["height"]], axis=1),
        exact=_named(table, exact),
        near=_named(table, _near_groups(table, exact)),
    )


def _identify(folder: Path, table: FactsTable) -> None:
    """Note the size and time of each file that is there."""
    for row, path in enumerate(table.paths):
        with suppress(OSError):
            found = (folder / path).stat()
            table.rows[row]["size"], table.rows[row]["mtime_ns"] = found.st_size, found.st_mtime_ns


def _fill(folder: Path, table: FactsTable, rows: list[int]) -> None:
    with progress_bar() as progress:
        task = progress.add_task("scanning", total=len(rows))
        saved = time.monotonic()
        for chunk, all_facts in _facts(folder, table, rows):
            for row, facts in zip(chunk, all_facts, strict=True):
                table.put(row, facts)
            progress.advance(task, len(chunk))
            if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES:
                _keep(folder, table)
                saved = time.monotonic()


def _facts(
    folder: Path, table: FactsTable, rows: list[int]
) -> Iterator[tuple[list[int], list[PhotoFacts]]]:
    """What the files of some rows hold, in chunks, in any order."""
    chunks = [rows[i : i + _CHUNK] for i in range(0, len(rows), _CHUNK)]
    workers = len(os.sched_getaffinity(0))
    if len(rows) < _WORTH_PROCESSES or workers == 1:
        for chunk in chunks:
            yield chunk, read_facts_of(folder, [table.paths[row] for row in chunk])
        return
    # Spawned, not forked: the caller may have threads (torch), whose locks a fork would copy.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        try:
            pending = {
                pool.submit(read_facts_of, folder, [table.paths[row] for row in chunk]): chunk
                for chunk in chunks
            }
            for future in as_completed(pending):
                yield pending.pop(future), future.result()
        except BrokenProcessPool as error:
            raise DatasetError(
                f"{folder}: a process that decodes photos was killed, perhaps as memory ran out; "
                "what was scanned is kept, and the same command goes on from there"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Ctrl-C is for the parent to handle; without a parent a worker ends at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _keep(folder: Path, table: FactsTable) -> None:
    try:
        scan_cache.save(folder, table)
    except OSError as error:
        _log.warning("what the scan of %s found cannot be kept: %s", folder, error)


def _exact_groups(table: FactsTable) -> list[list[int]]:
    """Rows of each content that decodes, one or more."""
    rows: dict[bytes, list[int]] = defaultdict(list)
    for row in np.flatnonzero(table.rows["state"] != UNDECODABLE).tolist():
        rows[table.rows["sha256"][row].tobytes()].append(row)
    return list(rows.values())


def _near_groups(table: FactsTable, exact: list[list[int]]) -> list[list[int]]:
    """Rows that look the same; one content alone is a group, too."""
    clusters = Clusters(len(exact))
    # One of each content is enough, and one of each look: a thousand copies of a photo otherwise
    # were half a million pairs.
    first = np.array([group[0] for group in exact], dtype=np.int64)
    comparable = np.flatnonzero(table.rows["state"][first] == COMPARABLE)
    looks, look = np.unique(table.rows["look"][first[comparable]], axis=0, return_inverse=True)
    holders = np.full(len(looks), -1, dtype=np.int64)
    for content, its_look in zip(comparable.tolist(), look.tolist(), strict=True):
        if holders[its_look] < 0:
            holders[its_look] = content
        clusters.join(int(holders[its_look]), content)
    for one, other in zip(holders[alike_firsts(looks)].tolist(), holders.tolist(), strict=True):
        clusters.join(one, other)
    return [
        sorted(row for content in contents for row in exact[content])
        for contents in clusters.members()
        if len(contents) > 1
    ]


def _named(table: FactsTable, groups: list[list[int]]) -> tuple[tuple[str, ...], ...]:
    named = (tuple(table.paths[row] for row in group) for group in groups if len(group) > 1)
    return tuple(sorted(tuple(sorted(group)) for group in named))
