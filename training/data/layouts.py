"""Layouts of data folders. A file that a layout does not speak of is passed over.

    folders        <class>/<any name>.jpg, or another kind of photo: for photos of your own
    cat-breeds     data/cats.csv (columns id and breed) and images/<breed>/<id>_<n>.jpg
    pets           <Breed_Name>_<number>.jpg, in the folder or in its images/
    animals-10     raw-img/<Italian name>/*.jpg, .jpeg, .png
    dogs-vs-cats   cat.<n>.jpg and dog.<n>.jpg, in the folder or in its train/
    cats-and-dogs  training_set/training_set/{cats,dogs}/*.jpg, test_set/test_set/{cats,dogs}/*.jpg

Classes are in the order of their names' code points, capitals first, on every machine.
"""

from __future__ import annotations

import csv
import errno
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from training.data.dataset import Dataset, DatasetError, Part, Photo, is_inside

LayoutName = Literal["folders", "cat-breeds", "pets", "animals-10", "dogs-vs-cats", "cats-and-dogs"]

# Of what `handlers.images` decodes.
_PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"),
    *(".tif", ".tiff", ".avif", ".heic", ".heif"),
)

# The folders' names and what they are called here.
_ANIMALS = {
    "cane": "dog",
    "cavallo": "horse",
    "elefante": "elephant",
    "farfalla": "butterfly",
    "gallina": "chicken",
    "gatto": "cat",
    "mucca": "cow",
    "pecora": "sheep",
    "ragno": "spider",
    "scoiattolo": "squirrel",
}
_PET = re.compile(r"(.+)_\d+\.jpe?g", re.IGNORECASE)
_CAT_OR_DOG = re.compile(r"(cat|dog)\.\d+\.jpe?g", re.IGNORECASE)
_PARTS: Mapping[str, Part] = {"training_set": "training", "test_set": "test"}


def read_dataset(layout: LayoutName, folder: Path) -> Dataset:
    """List a data folder's photos without opening them.

    Args:
        layout: see this module's docstring.
        folder: photos in it may be links to files, but no folder in it may lead out of it.

    Raises:
        DatasetError: an unknown layout, or a folder, a column or any photo is missing.
    """
    if layout not in _READERS:
        raise DatasetError(f"layout {layout!r} is not allowed; one of {list(_READERS)} is")
    try:
        if not folder.is_dir():
            what = "not a" if folder.exists() else "no such"
            raise DatasetError(f"{folder}: {what} folder; one of the layout {layout} is due")
        return _READERS[layout](folder)
    except OSError as error:
        what = f"{error.filename or folder}: {error.strerror or error}"
        if layout != "folders":
            what += (
                f"; the layout {layout} is due, of which docs/training.md tells: where yours is a "
                "folder a class, --set data.layout=folders"
            )
        raise DatasetError(what) from error


def _class_folders(folder: Path) -> Dataset:
    """A photo's class is its folder's name; a folder without photos is no class."""
    found = {name: _files(folder, name, _PHOTO_SUFFIXES) for name in _folders(folder, "")}
    classes = tuple(name for name, files in found.items() if files)
    photos = [
        _lone_photo(name, file, label) for label, name in enumerate(classes) for file in found[name]
    ]
    lost = [*_files(folder, "", _PHOTO_SUFFIXES), *(name for name in found if not found[name])]
    lost += [f"{name}/{inner}" for name in found for inner in _folders(folder, name)]
    return _dataset(folder, classes, photos, "<class>/<photo>.jpg", passed_over=tuple(sorted(lost)))


def _cat_breeds(folder: Path) -> Dataset:
    """A photo's class is its folder's name, its animal the id in the file's name."""
    listed = _listed_animals(folder / "data" / "cats.csv")
    classes = _folders(folder, "images")
    photos = []
    for label, breed in enumerate(classes):
        for name in _files(folder, f"images/{breed}", (".jpg",)):
            # The id is all before the last underscore: an id can be the prefix of another.
            stem = name.rpartition(".")[0]
            animal = sys.intern(stem.rpartition("_")[0] or stem)
            photos.append(Photo(f"images/{breed}/{name}", label, animal))
            listed.discard((breed, animal))
    missing = tuple(sorted(animal for _, animal in listed))
    return _dataset(folder, classes, photos, "images/<breed>/<id>_<n>.jpg", missing)


def _listed_animals(table: Path) -> set[tuple[str, str]]:
    """(breed, id) of each row."""
    # A pipe, say, would be waited for for ever.
    if not stat.S_ISREG(table.stat().st_mode):
        raise DatasetError(f"{table}: not a file; a CSV file with columns id and breed is due")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            # Else a quote that is never closed would swallow all rows behind it without a word.
            rows = csv.DictReader(file, strict=True)
            missing = {"id", "breed"} - set(rows.fieldnames or ())
            if missing:
                raise DatasetError(
                    f"{table}: column {', '.join(sorted(missing))} is missing; "
                    "columns id and breed are read"
                )
            return {(sys.intern(row["breed"] or ""), sys.intern(row["id"] or "")) for row in rows}
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{table}: not a CSV file in UTF-8: {error}") from error


def _pets(folder: Path) -> Dataset:
    """A photo's class is its name less the number."""
    below = "images" if (folder / "images").is_dir() else ""
    found = [
        (match[1], name)
        for name in _files(folder, below, (".jpg", ".jpeg"))
        if (match := _PET.fullmatch(name))
    ]
    classes = tuple(sorted({breed for breed, _ in found}))
    labels = {breed: label for label, breed in enumerate(classes)}
    photos = [_lone_photo(below, name, labels[breed]) for breed, name in found]
    return _dataset(folder, classes, photos, "<Breed_Name>_<number>.jpg")


def _animals_10(folder: Path) -> Dataset:
    found = _folders(folder, "raw-img")
    for name in sorted({*found} ^ {*_ANIMALS}):
        fault = "no such folder" if name in _ANIMALS else "not one of this layout's folders"
        raise DatasetError(
            f"{folder / 'raw-img' / name}: {fault}; exactly {', '.join(sorted(_ANIMALS))} are due"
        )
    classes = tuple(sorted(_ANIMALS.values()))
    photos = [
        _lone_photo(f"raw-img/{italian}", name, classes.index(english))
        for italian, english in _ANIMALS.items()
        for name in _files(folder, f"raw-img/{italian}", (".jpg", ".jpeg", ".png"))
    ]
    return _dataset(folder, classes, photos, "raw-img/<Italian name>/*.jpg")


def _dogs_vs_cats(folder: Path) -> Dataset:
    below = "train" if (folder / "train").is_dir() else ""
    classes = ("cat", "dog")
    photos = [
        _lone_photo(below, name, classes.index(match[1].lower()))
        for name in _files(folder, below, (".jpg", ".jpeg"))
        if (match := _CAT_OR_DOG.fullmatch(name))
    ]
    for label, animal in enumerate(classes):
        if all(photo.label != label for photo in photos):
            raise FileNotFoundError(errno.ENOENT, f"holds no {animal}.<n>.jpg", folder / below)
    return _dataset(folder, classes, photos, "cat.<n>.jpg and dog.<n>.jpg")


def _cats_and_dogs(folder: Path) -> Dataset:
    """Classes are called as in dogs-vs-cats, so that models of the two can be compared."""
    classes = ("cat", "dog")
    photos = [
        _lone_photo(below, name, label, part)
        for outer, part in _PARTS.items()
        for label, animal in enumerate(classes)
        for below in (f"{outer}/{outer}/{animal}s",)
        for name in _files(folder, below, (".jpg", ".jpeg"))
    ]
    return _dataset(folder, classes, photos, "training_set/training_set/{cats,dogs}/*.jpg")


def _lone_photo(below: str, name: str, label: int, part: Part | None = None) -> Photo:
    """A photo in a layout that does not say which photos show one animal."""
    path = f"{below}/{name}" if below else name
    return Photo(path, label, path, part)


def _dataset(
    folder: Path,
    classes: tuple[str, ...],
    photos: list[Photo],
    expected: str,
    rows_without_file: tuple[str, ...] = (),
    passed_over: tuple[str, ...] = (),
) -> Dataset:
    if not photos:
        raise FileNotFoundError(errno.ENOENT, f"holds no {expected}", str(folder))
    photos.sort(key=lambda photo: photo.path)
    return Dataset(folder, classes, tuple(photos), rows_without_file, passed_over)


def _entries(folder: Path, below: str) -> Iterator[os.DirEntry[str]]:
    """What a folder lists, but for hidden files, which systems leave behind (.DS_Store, ._1.jpg).

    Raises:
        DatasetError: the folder leads out of the data folder.
    """
    inner = folder / below
    if not is_inside(inner, folder):
        raise DatasetError(f"{inner}: a link that leads out of {folder}; folders in it may not")
    with os.scandir(inner) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def _folders(folder: Path, below: str) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in _entries(folder, below) if _leads_to_dir(entry)))


def _files(folder: Path, below: str, suffixes: tuple[str, ...]) -> list[str]:
    """Sorted names. What is a photo by name only, such as a dangling link, is for the scan."""
    return sorted(
        entry.name
        for entry in _entries(folder, below)
        if entry.name.lower().endswith(suffixes) and not _leads_to_dir(entry)
    )


def _leads_to_dir(entry: os.DirEntry[str]) -> bool:
    """A link to itself leads nowhere, as a dangling one does."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


_READERS: Mapping[str, Callable[[Path], Dataset]] = {
    "folders": _class_folders,
    "cat-breeds": _cat_breeds,
    "pets": _pets,
    "animals-10": _animals_10,
    "dogs-vs-cats": _dogs_vs_cats,
    "cats-and-dogs": _cats_and_dogs,
}
