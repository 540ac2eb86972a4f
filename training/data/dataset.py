"""What a data folder holds: photos with a class, and the animals that they show."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Part = Literal["training", "validation", "test"]


class DatasetError(Exception):
    """The folder does not hold the data set expected; the message names the file and the fault."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One file.

    Attributes:
        path: below the data folder, with `/` between its parts.
        label: index into the classes.
        group: photos of one animal share it and stay on one side of a split.
        part: where the layout itself says which part the photo belongs to.
    """

    path: str
    label: int
    group: str
    part: Part | None = None


@dataclass(frozen=True)
class Dataset:
    """The photos of a folder.

    Attributes:
        classes: names; a label is an index into them.
        photos: sorted by path.
        rows_without_file: ids that the layout's table lists but no photo shows.
        passed_over: photos and folders where the layout has none, and folders without photos.
    """

    folder: Path
    classes: tuple[str, ...]
    photos: tuple[Photo, ...]
    rows_without_file: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    @property
    def majority_label(self) -> int:
        """Of the commonest class of all photos; of several the first in the order of classes."""
        counts = Counter(photo.label for photo in self.photos)
        return max(range(len(self.classes)), key=lambda label: counts[label])

    def majority_baseline(self, photos: Sequence[Photo]) -> float:
        """Share of right answers when the commonest class of all photos is always given."""
        commonest = self.majority_label
        return sum(photo.label == commonest for photo in photos) / len(photos)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or leads to something below it, by whatever links."""
    # Not Path.resolve, which raises RuntimeError where a link leads to itself.
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def check_outside(path: Path, folder: Path, option: str) -> None:
    """Call this before anything is written to `path`, which `option` of a command names.

    Raises:
        DatasetError: it lies in the folder of photos, which is never changed.
    """
    if is_inside(path, folder):
        raise DatasetError(
            f"{path}: lies in the data folder {os.path.realpath(folder)}, which is never changed; "
            f"another {option} is needed"
        )
