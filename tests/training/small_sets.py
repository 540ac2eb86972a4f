"""Small sets of photos in the five layouts: plain colours under noise, which any network learns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 48
# Colours far apart, for as many classes as a small set has.
_COLOURS = [(200, 60, 60), (60, 60, 200), (60, 200, 60), (200, 200, 60), (60, 200, 200)]
ITALIAN = {
    "butterfly": "farfalla",
    "cat": "gatto",
    "chicken": "gallina",
    "cow": "mucca",
    "dog": "cane",
    "elephant": "elefante",
    "horse": "cavallo",
    "sheep": "pecora",
    "spider": "ragno",
    "squirrel": "scoiattolo",
}


def write_photo(path: Path, label: int, number: int) -> None:
    """A JPEG whose colour tells its class; no two are alike."""
    random = np.random.default_rng((label, number))
    coarse = random.integers(-50, 51, (6, 6, 1)).repeat(SIDE // 6, 0).repeat(SIDE // 6, 1)
    pixels = np.array(_COLOURS[label % len(_COLOURS)]) + coarse
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=95)


def cat_breeds(folder: Path, classes: Sequence[str], photos: int) -> None:
    """Two photos of each cat."""
    (folder / "data").mkdir(parents=True)
    with (folder / "data" / "cats.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["", "id", "breed"])
        for label, breed in enumerate(classes):
            for number in range(photos):
                cat = f"{1000 * (label + 1) + number // 2}"
                table.writerow([number, cat, breed])
                write_photo(folder / "images" / breed / f"{cat}_{number % 2}.jpg", label, number)


def pets(folder: Path, classes: Sequence[str], photos: int) -> None:
    for label, breed in enumerate(classes):
        for number in range(photos):
            write_photo(folder / f"{breed}_{number + 1}.jpg", label, number)


def animals_10(folder: Path, classes: Sequence[str], photos: int) -> None:
    for label, animal in enumerate(classes):
        for number in range(photos):
            write_photo(folder / "raw-img" / ITALIAN[animal] / f"{number}.jpeg", label, number)


def dogs_vs_cats(folder: Path, classes: Sequence[str], photos: int) -> None:
    for label, animal in enumerate(classes):
        for number in range(photos):
            write_photo(folder / f"{animal}.{number}.jpg", label, number)


def cats_and_dogs(folder: Path, classes: Sequence[str], photos: int) -> None:
    """A fifth is the layout's own test set."""
    for label, animals in enumerate(classes):
        for number in range(photos):
            part = "test_set" if number % 5 == 0 else "training_set"
            name = f"{animals[:-1]}.{number}.jpg"
            write_photo(folder / part / part / animals / name, label, number)


# Layout -> who writes it, and its classes.
SETS: dict[str, tuple[Callable[[Path, Sequence[str], int], None], tuple[str, ...]]] = {
    "cat-breeds": (cat_breeds, ("Abyssinian", "Bengal", "Siamese")),
    "pets": (pets, ("Abyssinian", "beagle", "Sphynx", "yorkshire_terrier")),
    "animals-10": (animals_10, tuple(sorted(ITALIAN))),
    "dogs-vs-cats": (dogs_vs_cats, ("cat", "dog")),
    "cats-and-dogs": (cats_and_dogs, ("cats", "dogs")),
}


def write_small_set(layout: str, folder: Path, photos: int) -> tuple[str, ...]:
    """So many photos of each class; returns the classes as the layout's files call them."""
    write, classes = SETS[layout]
    write(folder, classes, photos)
    return classes
