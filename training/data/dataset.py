"""What a data folder holds: photos with a class, and the animals that they show."""

from __future__ import annotations

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
    """

    folder: Path
    classes: tuple[str, ...]
    photos: tuple[Photo, ...]
    rows_without_file: tuple[str, ...] = ()

    def majority_baseline(self, photos: Sequence[Photo]) -> float:
        """Share of right answers when the commonest class of all photos is always given."""
        (commonest, _), *_ = Counter(photo.label for photo in self.photos).most_common(1)
        return sum(photo.label == commonest for photo in photos) / len(photos)
