"""Photos on disk: which there are, what they show, and which are held out.

Nothing in a data folder is ever changed.
"""

from __future__ import annotations

import csv
import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class DatasetError(Exception):
    """The folder does not hold the data set expected; the message names the file and the fault."""


@dataclass(frozen=True)
class Photo:
    """One file.

    Attributes:
        path: below the data folder.
        label: index into the classes.
        animal: photos of one animal share it and stay on one side of a split.
    """

    path: Path
    label: int
    animal: str


@dataclass(frozen=True)
class Dataset:
    """The photos of a folder.

    Attributes:
        classes: names, alphabetical; a label is an index into them.
        rows_without_file: ids that the table lists but no photo shows.
    """

    folder: Path
    classes: tuple[str, ...]
    photos: tuple[Photo, ...]
    rows_without_file: tuple[str, ...]

    def majority_baseline(self, photos: Sequence[Photo]) -> float:
        """Share of right answers when the commonest class of all photos is always given."""
        (commonest, _), *_ = Counter(photo.label for photo in self.photos).most_common(1)
        return sum(photo.label == commonest for photo in photos) / len(photos)


@dataclass(frozen=True)
class Split:
    """Photos to learn from and photos to judge by; no animal is in both.

    Attributes:
        hash: SHA-256 of the file lists, to tell later which photos a figure is about.
        unsplit: classes none of whose animals is held out, such as one with a single animal.
    """

    training: tuple[Photo, ...]
    validation: tuple[Photo, ...]
    hash: str
    unsplit: tuple[str, ...]


def read_cat_breeds(folder: Path) -> Dataset:
    """Read `data/cats.csv` and `images/<breed>/<id>_<n>.jpg`.

    A photo's class is its folder's name, its animal the id in the file's name.

    Raises:
        DatasetError: a folder or column is missing, or there is no photo.
    """
    table, images = folder / "data" / "cats.csv", folder / "images"
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = {"id", "breed"} - set(rows.fieldnames or ())
            if missing:
                raise DatasetError(f"{table}: column {', '.join(sorted(missing))} is missing")
            listed = {(row["breed"], row["id"]) for row in rows}
        classes = tuple(sorted(path.name for path in images.iterdir() if path.is_dir()))
    except OSError as error:
        raise DatasetError(f"{error.filename}: {error.strerror}") from error
    photos = []
    for label, breed in enumerate(classes):
        for path in sorted((images / breed).glob("*.jpg")):
            # The id is all before the last underscore: an id can be the prefix of another.
            animal = path.stem.rpartition("_")[0] or path.stem
            photos.append(Photo(path.relative_to(folder), label, animal))
    if not photos:
        raise DatasetError(f"{images}: holds no <breed>/<id>_<n>.jpg")
    shown = {(classes[photo.label], photo.animal) for photo in photos}
    return Dataset(
        folder, classes, tuple(photos), tuple(sorted(animal for _, animal in listed - shown))
    )


def split(dataset: Dataset, validation: float, seed: int) -> Split:
    """Hold out a share of the animals of each class.

    Args:
        validation: the share, at least one animal of each class that has two.
        seed: the same seed gives the same split of the same files on every machine.
    """
    animals: dict[int, set[str]] = defaultdict(set)
    for photo in dataset.photos:
        animals[photo.label].add(photo.animal)
    held_out_animals: set[str] = set()
    trained_animals: set[str] = set()
    unsplit = []
    # The smallest classes first: they have no animal to spare.
    for label, names in sorted(animals.items(), key=lambda pair: (len(pair[1]), pair[0])):
        # An animal that an earlier class has already placed, as some are listed under two breeds,
        # keeps its side.
        free = sorted(names - held_out_animals - trained_animals)
        random.Random(f"{seed} {dataset.classes[label]}").shuffle(free)  # noqa: S311
        wanted = max(1, round(validation * len(names))) if len(names) > 1 else 0
        # Each class keeps at least one animal to learn from.
        keep = 0 if names & trained_animals else 1
        count = min(max(0, wanted - len(names & held_out_animals)), max(0, len(free) - keep))
        held_out_animals |= set(free[:count])
        trained_animals |= set(free[count:])
        if not names & held_out_animals:
            unsplit.append(dataset.classes[label])
    training = [photo for photo in dataset.photos if photo.animal not in held_out_animals]
    held_out = [photo for photo in dataset.photos if photo.animal in held_out_animals]
    sides = (("training", training), ("validation", held_out))
    lines = sorted(f"{side} {photo.path.as_posix()}" for side, photos in sides for photo in photos)
    return Split(
        training=tuple(training),
        validation=tuple(held_out),
        hash=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        unsplit=tuple(sorted(unsplit)),
    )
