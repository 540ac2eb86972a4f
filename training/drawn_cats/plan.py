"""Which animals and photos a set of drawn cats holds, and the traps that are laid in it.

Everything here follows from the settings alone; nothing is drawn or written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from training.drawn_cats.breeds import CLASSES

# As in the real set, a house cat is everywhere and these three are next to nowhere.
_COMMON = (
    "Domestic Short Hair", "Tabby", "Domestic Medium Hair", "Domestic Long Hair", "Tuxedo",
    "Calico", "Tortoiseshell", "Siamese", "American Shorthair", "Persian", "Maine Coon",
)  # fmt: skip
_RARE = {"Canadian Hairless": 14, "Chinchilla": 13, "York Chocolate": 12}  # of 2,700 photos
MIN_PHOTOS = 6 * len(CLASSES)

_NAMES = (
    "Luna", "Milo", "Cleo", "Oscar", "Nala", "Simba", "Pip", "Misty", "Felix", "Willow",
    'Mr. "Boots", Jr.', "Tom, the Third", "Zoë", "Smudge", "Ginger & Spice",
)  # fmt: skip
_AGES = ("Baby", "Young", "Adult", "Senior")
_SIZES = ("Small", "Medium", "Large")


class Trap(Enum):
    """What a file that does not decode holds."""

    TRUNCATED = "a JPEG cut off in the middle"
    EMPTY = "zero bytes"
    HTML = "a web page saved under the name of a photo"


@dataclass(frozen=True)
class Photo:
    """`images/<breed>/<id>_<number>.jpg`. `seed` and `shot` seed the animal and the picture."""

    breed: str
    animal_id: int
    number: int
    seed: tuple[int, int, int]
    trap: Trap | None = None

    @property
    def path(self) -> str:
        return f"images/{self.breed}/{self.animal_id}_{self.number}.jpg"


@dataclass(frozen=True)
class Row:
    """A row of `data/cats.csv`; readers need `id` and `breed`, the rest is to be ignored."""

    id: int
    breed: str
    type: str
    name: str
    age: str
    gender: str
    size: str


@dataclass(frozen=True)
class Plan:
    photos: tuple[Photo, ...]
    rows: tuple[Row, ...]
    rows_without_photo: int


def class_sizes(photos: int) -> dict[str, int]:
    """Very unequal numbers of photos for each breed, `photos` in all.

    Raises ValueError below `MIN_PHOTOS`, under which a breed could be left without any.
    """
    if photos < MIN_PHOTOS:
        raise ValueError(f"photos: {photos}; allowed: {MIN_PHOTOS} or more")
    order = [*_COMMON, *(name for name in CLASSES if name not in _COMMON and name not in _RARE)]
    weights = [1.0 + 3.0 * math.exp(-rank / 11.0) for rank in range(len(order))]
    rare = {name: max(1, photos * size // 2700) for name, size in _RARE.items()}
    left = photos - sum(rare.values())
    sizes = [int(left * weight / sum(weights)) for weight in weights]
    sizes[0] += left - sum(sizes)
    return {**dict(zip(order, sizes, strict=True)), **rare}


def _row(animal_id: int, breed: str, rng: np.random.Generator) -> Row:
    def one_of(values: tuple[str, ...]) -> str:
        return values[int(rng.integers(len(values)))]

    gender = one_of(("Female", "Male"))
    return Row(animal_id, breed, "Cat", one_of(_NAMES), one_of(_AGES), gender, one_of(_SIZES))


def trapped_plan(seed: int, photos: int) -> Plan:
    """`photos` good photos in classes of unequal size, and all the traps of the real set."""
    rng = np.random.default_rng((seed, 1))
    sizes = class_sizes(photos)
    groups: list[tuple[str, int, int]] = []  # breed, animal of the breed, photos of the animal
    for breed in CLASSES:
        left, animal = sizes[breed], 0
        while left:
            count = min(left, int(rng.choice((1, 2, 3, 4), p=(0.45, 0.3, 0.15, 0.1))))
            groups.append((breed, animal, count))
            left, animal = left - count, animal + 1
    ids = _ids(len(groups), rng)
    planned: list[Photo] = []
    rows: list[Row] = []
    for (breed, animal, count), animal_id in zip(groups, ids, strict=True):
        seeds = (seed, CLASSES.index(breed), animal)
        planned += [Photo(breed, animal_id, number + 1, seeds) for number in range(count)]
        rows.append(_row(animal_id, breed, rng))
    for number, place in enumerate(rng.choice(len(groups), 12, replace=False)):
        breed, animal, count = groups[place]
        trap = tuple(Trap)[number % len(Trap)]
        seeds = (seed, CLASSES.index(breed), animal)
        planned.append(Photo(breed, ids[place], count + 1, seeds, trap))
    empty = [_row(3_900_000 + i, CLASSES[(7 * i) % len(CLASSES)], rng) for i in range(10)]
    rows += empty
    shuffled = tuple(rows[i] for i in rng.permutation(len(rows)))
    return Plan(tuple(planned), shuffled, len(empty))


def _ids(count: int, rng: np.random.Generator) -> list[int]:
    """Numbers of seven digits; every fifth is its neighbour's with one more digit behind it.

    Neighbours mostly share a breed, so that both kinds of mix-up can happen: a photo of another
    animal of the folder, and of one in another folder.
    """
    ids = [3_100_000 + int(place) for place in rng.permutation(count)]
    for place in range(4, count, 5):
        ids[place] = ids[place - 1] * 10 + int(rng.integers(10))
    return ids


def even_plan(seed: int, per_breed: int) -> Plan:
    """`per_breed` photos of each breed, each of an animal of its own, without traps."""
    if per_breed < 1:
        raise ValueError(f"per_breed: {per_breed}; allowed: 1 or more")
    rng = np.random.default_rng((seed, 2))
    planned, rows = [], []
    for index, breed in enumerate(CLASSES):
        for animal in range(per_breed):
            animal_id = 3_200_000 + index * per_breed + animal
            # Far from the numbers of a training set: no animal of it is met again here.
            planned.append(Photo(breed, animal_id, 1, (seed, index, 1_000_000 + animal)))
            rows.append(_row(animal_id, breed, rng))
    return Plan(tuple(planned), tuple(rows), 0)
