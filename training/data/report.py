"""What a check of a data folder finds; `dataclasses.asdict` makes it ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from training.data.dataset import Part


@dataclass(frozen=True)
class ClassCount:
    """Photos of a class.

    Attributes:
        dropped: in no part, as they show what is in a part that the layout fixes.
        undecodable: in no part.
    """

    name: str
    training: int
    validation: int
    test: int
    dropped: int
    undecodable: int

    @property
    def decodable(self) -> int:
        """Those that can be learned from or judged by."""
        return self.training + self.validation + self.test + self.dropped

    @property
    def total(self) -> int:
        """All of them."""
        return self.decodable + self.undecodable


@dataclass(frozen=True)
class PartCount:
    """Photos of a part.

    Attributes:
        share: of the photos that decode, in 0..1.
        classes: how many of all classes are in it.
        majority_baseline: share of right answers when the commonest class is always given; None
            for an empty part.
    """

    photos: int
    share: float
    classes: int
    majority_baseline: float | None


@dataclass(frozen=True)
class Copies:
    """Photos of one picture.

    Attributes:
        classes: those that the paths have been given, each once; more than one is a conflict.
        animals: how many the layout takes the photos for.
    """

    paths: tuple[str, ...]
    classes: tuple[str, ...]
    animals: int


@dataclass(frozen=True)
class Crossing:
    """What would be both learned from and judged by.

    Attributes:
        animals: with photos in more than one part.
        copies: groups of exact or near copies in more than one part.
    """

    animals: int
    copies: int


@dataclass(frozen=True)
class PhotoSize:
    """Size in px, upright."""

    path: str
    width: int
    height: int


@dataclass(frozen=True)
class DataReport:
    """What is known about a data folder before training on it.

    Attributes:
        photos: all files, of which some may not decode.
        animals: how many the layout takes them for; as many as photos where it does not say.
        undecodable: path -> why.
        rows_without_file: ids in the layout's table that no photo shows.
        passed_over: photos and folders where the layout "folders" has none.
        exact_copies: files with the same bytes.
        near_copies: photos that look the same (see `looks`), with at least two different files.
        label_conflicts: copies of either kind in more than one class.
        crossing: by the split; none, unless the layout itself says so.
        crossing_by_photo: by a split of the same sizes that deals out single photos.
        unsplit: classes none of whose photos is held out: too small, or without one that decodes.
        smallest, largest: by pixels; None where none decodes.
    """

    folder: str
    photos: int
    animals: int
    majority_class: str
    classes: tuple[ClassCount, ...]
    parts: Mapping[Part, PartCount]
    split_hash: str
    undecodable: Mapping[str, str]
    rows_without_file: tuple[str, ...]
    passed_over: tuple[str, ...]
    exact_copies: tuple[Copies, ...]
    near_copies: tuple[Copies, ...]
    label_conflicts: tuple[Copies, ...]
    crossing: Crossing
    crossing_by_photo: Crossing
    dropped: tuple[str, ...]
    unsplit: tuple[str, ...]
    smallest: PhotoSize | None
    largest: PhotoSize | None


def printable(text: str) -> str:
    """A name as it can be shown: a file's may hold control characters, or be no UTF-8."""
    return "".join(character if character.isprintable() else "?" for character in text)
