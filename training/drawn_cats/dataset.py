"""Writes a set of drawn cats in the layout of the cat-breeds set.

    OUT/data/cats.csv                  id, breed and columns that a reader ignores
    OUT/images/<breed>/<id>_<n>.jpg    photo n of animal `id`
    OUT/drawn-cats.json                the settings, written last: its set is complete

The bytes depend on the settings and the library versions, not on the number of workers.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from training.drawn_cats.draw import Animal, draw_photo
from training.drawn_cats.plan import Photo, Plan, Row, Trap, even_plan, trapped_plan

LICENCE_NOTE = "Photos: drawn by this program (training/drawn_cats), Apache-2.0."
MARKER = "drawn-cats.json"
PHOTOS, SIZE = 2700, 192

# Raised whenever the same settings give other pixels: an older set is then not taken for this one.
_DRAWING = 1
_CHUNK = 24
_QUALITY = 88
_WEB_PAGE = b"<!DOCTYPE html><html><head><title>404</title></head><body>Not found</body></html>\n"

Progress = Callable[[int, int], None]


class OutputExistsError(FileExistsError):
    """The folder holds something else than the finished set that was asked for."""

    def __init__(self, out: Path, why: str) -> None:
        super().__init__(f"{out}: {why}; choose another folder or remove this one")
        self.folder = out


@dataclass(frozen=True)
class Summary:
    """What a set holds. `photos` decode, `undecodable` do not; sizes are photos of a breed."""

    folder: Path
    photos: int
    undecodable: int
    animals: int
    rows_without_photo: int
    smallest: int
    largest: int
    already_there: bool = False


def write_dataset(
    out: Path,
    seed: int = 0,
    photos: int = PHOTOS,
    size: int = SIZE,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """A training set with unequal classes and the traps of the real one (see `plan`).

    Args:
        out: must not exist, be empty, or hold the finished set of the same settings, which is
            then left as it is.
        photos: how many of the files decode, all breeds together.
        size: side of the photos in px.
        workers: processes, by default one for each core that this process may use.
        progress: called with (files written, files in all) from this process.

    Raises:
        OutputExistsError: `out` holds something else.
        ValueError: too few photos.
    """
    settings = {"kind": "training", "seed": seed, "photos": photos, "size": size}
    return _write(out, settings, lambda: trapped_plan(seed, photos), workers, progress)


def write_photos(
    out: Path,
    seed: int,
    per_breed: int,
    size: int = SIZE,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """An evaluation set: `per_breed` photos of each breed, one an animal, without traps.

    Arguments and errors as for `write_dataset`.
    """
    settings = {"kind": "evaluation", "seed": seed, "per_breed": per_breed, "size": size}
    return _write(out, settings, lambda: even_plan(seed, per_breed), workers, progress)


def _write(
    out: Path,
    settings: dict[str, Any],
    make_plan: Callable[[], Plan],
    workers: int | None,
    progress: Progress | None,
) -> Summary:
    settings = {**settings, "drawing": _DRAWING, "licence": LICENCE_NOTE}
    finished = _finished(out, settings)
    if finished is not None:
        return finished
    plan = make_plan()
    summary = _summary(out, plan)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside OUT, so that the rename at the end stays on one file system and is atomic.
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        draft.chmod(0o755)
        for breed in sorted({row.breed for row in plan.rows}):
            (draft / "images" / breed).mkdir(parents=True)
        _write_rows(draft / "data" / "cats.csv", plan.rows)
        count = workers or len(os.sched_getaffinity(0))
        total = len(plan.photos)
        done = 0
        for written in _draw_all(draft, plan.photos, int(settings["size"]), count):
            done += written
            if progress is not None:
                progress(done, total)
        held = {**dataclasses.asdict(summary), "folder": None}
        (draft / MARKER).write_text(json.dumps({"settings": settings, "holds": held}, indent=2))
        draft.rename(out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return summary


def _finished(out: Path, settings: dict[str, Any]) -> Summary | None:
    """The summary of the set in `out` if it is the one asked for, None if `out` is free."""
    if not out.exists():
        return None
    if not out.is_dir():
        raise OutputExistsError(out, "is a file")
    if not any(out.iterdir()):
        return None
    try:
        marker = json.loads((out / MARKER).read_text())
        found, held = marker["settings"], marker["holds"]
        summary = Summary(**{**held, "folder": out, "already_there": True})
    except (OSError, ValueError, KeyError, TypeError):
        raise OutputExistsError(out, "exists and is no finished set of drawn cats") from None
    if found != settings:
        other = [key for key in settings if found.get(key) != settings[key]]
        raise OutputExistsError(out, f"holds drawn cats with other settings ({', '.join(other)})")
    files = sum(1 for _ in (out / "images").glob("*/*.jpg"))
    if files != summary.photos + summary.undecodable:
        raise OutputExistsError(out, f"holds {files} photos of a set that had more or fewer")
    return summary


def _summary(out: Path, plan: Plan) -> Summary:
    good = [photo for photo in plan.photos if photo.trap is None]
    sizes: dict[str, int] = {}
    for photo in good:
        sizes[photo.breed] = sizes.get(photo.breed, 0) + 1
    return Summary(
        folder=out,
        photos=len(good),
        undecodable=len(plan.photos) - len(good),
        animals=len({photo.animal_id for photo in plan.photos}),
        rows_without_photo=plan.rows_without_photo,
        smallest=min(sizes.values()),
        largest=max(sizes.values()),
    )


def _write_rows(path: Path, rows: tuple[Row, ...]) -> None:
    path.parent.mkdir()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in dataclasses.fields(Row)])
        writer.writerows(dataclasses.astuple(row) for row in rows)


def _draw_all(folder: Path, photos: tuple[Photo, ...], size: int, workers: int) -> Iterator[int]:
    """Writes all photos; yields how many more are written."""
    chunks = [photos[i : i + _CHUNK] for i in range(0, len(photos), _CHUNK)]
    if workers == 1:
        for chunk in chunks:
            yield _draw_chunk(folder, chunk, size)
        return
    # Spawned, not forked: the caller may have threads (torch), whose locks a fork would copy.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        try:
            futures = [pool.submit(_draw_chunk, folder, chunk, size) for chunk in chunks]
            for future in as_completed(futures):
                yield future.result()
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


def _draw_chunk(folder: Path, photos: tuple[Photo, ...], size: int) -> int:
    for photo in photos:
        (folder / photo.path).write_bytes(_photo_bytes(photo, size))
    return len(photos)


def _photo_bytes(photo: Photo, size: int) -> bytes:
    if photo.trap is Trap.EMPTY:
        return b""
    if photo.trap is Trap.HTML:
        return _WEB_PAGE
    animal = Animal.born(photo.breed, np.random.default_rng(photo.seed))
    picture = draw_photo(animal, np.random.default_rng((*photo.seed, photo.number)), size)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=_QUALITY)
    whole = data.getvalue()
    return whole[: len(whole) // 3] if photo.trap is Trap.TRUNCATED else whole
