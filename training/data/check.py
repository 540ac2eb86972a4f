"""Looks at a data folder before anything is trained on it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from training.data.check_table import print_table
from training.data.dataset import Dataset, Part, Photo
from training.data.layouts import LayoutName, read_dataset
from training.data.report import (
    ClassCount,
    Copies,
    Crossing,
    DataReport,
    PartCount,
    PhotoSize,
)
from training.data.scan import Scan, scan
from training.data.split import Split, split

__all__ = ["check", "check_data", "print_table"]


def check_data(
    layout: LayoutName, folder: Path, validation: float, test: float, seed: int
) -> DataReport:
    """Read, scan and split a data folder; arguments as for `read_dataset` and `split`.

    Raises:
        DatasetError: the folder does not hold the layout.
    """
    dataset = read_dataset(layout, folder)
    scanned = scan(dataset)
    return check(dataset, scanned, split(dataset, scanned, validation, test, seed))


def check(dataset: Dataset, scan: Scan, split: Split) -> DataReport:
    """Put together what the three say."""
    parts: dict[Part, tuple[Photo, ...]] = {
        "training": split.training,
        "validation": split.validation,
        "test": split.test,
    }
    placed = {photo.path: part for part, photos in parts.items() for photo in photos}
    classes = _class_counts(dataset, scan, split, parts)
    exact, near = _copies(dataset, scan.exact), _copies(dataset, scan.near)
    # Exact copies of a near one are in its group already.
    covered = {path for group in scan.near for path in group}
    copies = near + tuple(group for group in exact if group.paths[0] not in covered)
    return DataReport(
        folder=str(dataset.folder),
        photos=len(dataset.photos),
        animals=len({photo.group for photo in dataset.photos}),
        majority_class=dataset.classes[dataset.majority_label],
        classes=classes,
        parts={part: _part_count(dataset, photos, len(placed)) for part, photos in parts.items()},
        split_hash=split.hash,
        undecodable=dict(scan.undecodable),
        rows_without_file=dataset.rows_without_file,
        passed_over=dataset.passed_over,
        exact_copies=exact,
        near_copies=near,
        label_conflicts=tuple(group for group in copies if len(group.classes) > 1),
        crossing=_crossing(dataset, placed, copies),
        crossing_by_photo=_crossing(dataset, _dealt_out(dataset, scan, classes), copies),
        dropped=tuple(photo.path for photo in split.dropped),
        unsplit=split.unsplit,
        smallest=_extreme(dataset, scan, largest=False),
        largest=_extreme(dataset, scan, largest=True),
    )


def _class_counts(
    dataset: Dataset, scan: Scan, split: Split, parts: Mapping[Part, tuple[Photo, ...]]
) -> tuple[ClassCount, ...]:
    def by_label(photos: Iterable[Photo]) -> Counter[int]:
        return Counter(photo.label for photo in photos)

    placed = {part: by_label(photos) for part, photos in parts.items()}
    dropped = by_label(split.dropped)
    undecodable = by_label(photo for photo in dataset.photos if photo.path in scan.undecodable)
    return tuple(
        ClassCount(
            name,
            placed["training"][label],
            placed["validation"][label],
            placed["test"][label],
            dropped[label],
            undecodable[label],
        )
        for label, name in enumerate(dataset.classes)
    )


def _part_count(dataset: Dataset, photos: tuple[Photo, ...], of: int) -> PartCount:
    return PartCount(
        photos=len(photos),
        share=len(photos) / of if of else 0.0,
        classes=len({photo.label for photo in photos}),
        majority_baseline=dataset.majority_baseline(photos) if photos else None,
    )


def _copies(dataset: Dataset, groups: Iterable[tuple[str, ...]]) -> tuple[Copies, ...]:
    photos = {photo.path: photo for photo in dataset.photos}
    return tuple(
        Copies(
            paths=paths,
            classes=tuple(sorted({dataset.classes[photos[path].label] for path in paths})),
            animals=len({photos[path].group for path in paths}),
        )
        for paths in groups
    )


def _crossing(dataset: Dataset, placed: Mapping[str, Part], copies: Iterable[Copies]) -> Crossing:
    animals: dict[str, list[str]] = defaultdict(list)
    for photo in dataset.photos:
        animals[photo.group].append(photo.path)

    def crossing(groups: Iterable[Iterable[str]]) -> int:
        return sum(len({placed[path] for path in paths if path in placed}) > 1 for paths in groups)

    return Crossing(crossing(animals.values()), crossing(group.paths for group in copies))


def _dealt_out(dataset: Dataset, scan: Scan, classes: tuple[ClassCount, ...]) -> dict[str, Part]:
    """A split with as many photos of each class in each part, which keeps nothing together."""
    dealt: dict[str, Part] = {}
    free: dict[int, list[str]] = defaultdict(list)
    for photo in dataset.photos:
        if photo.path in scan.undecodable:
            continue
        if photo.part in ("validation", "test"):
            dealt[photo.path] = photo.part
        else:
            free[photo.label].append(photo.path)
    fixed = set(dealt.values())
    for label, paths in free.items():
        # As good as chance, and the same each time.
        paths.sort(key=lambda path: hashlib.sha256(os.fsencode(path)).digest())
        count = classes[label]
        validation = 0 if "validation" in fixed else count.validation
        test = 0 if "test" in fixed else count.test
        dealt |= dict.fromkeys(paths[:validation], "validation")
        dealt |= dict.fromkeys(paths[validation : validation + test], "test")
        dealt |= dict.fromkeys(paths[validation + test :], "training")
    return dealt


def _extreme(dataset: Dataset, scan: Scan, largest: bool) -> PhotoSize | None:
    pixels = scan.sizes.astype("int64").prod(axis=1)
    rows = pixels.nonzero()[0]
    if not len(rows):
        return None
    row = int(rows[pixels[rows].argmax() if largest else pixels[rows].argmin()])
    width, height = scan.sizes[row].tolist()
    return PhotoSize(dataset.photos[row].path, width, height)
