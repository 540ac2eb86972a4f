"""Which photos are learned from, which are decided by, and which are only judged by.

Photos of one animal and copies of one picture stay together, else a figure would measure memory.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from training.data.clusters import Clusters
from training.data.dataset import Dataset, Part, Photo
from training.data.scan import Scan


@dataclass(frozen=True)
class Split:
    """Photos by part, each sorted by path; what belongs together is in one part.

    Attributes:
        dropped: in no part, for they show what is in a part that the layout itself fixes.
        hash: SHA-256 of the sorted lines "part path", to tell later what a figure is about.
        unsplit: classes none of whose photos is held out, such as one with a single animal, or
            without a photo that decodes.
    """

    training: tuple[Photo, ...]
    validation: tuple[Photo, ...]
    test: tuple[Photo, ...]
    dropped: tuple[Photo, ...]
    hash: str
    unsplit: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """Those that the hash is of."""
        parts: dict[Part, tuple[Photo, ...]] = {
            "training": self.training,
            "validation": self.validation,
            "test": self.test,
        }
        return _lines(parts.items())


@dataclass(eq=False)
class _Unit:
    """Photos that stay together.

    Attributes:
        rank: where the unit comes in the seed's order.
        sizes: label -> photos.
    """

    photos: list[Photo]
    rank: bytes
    part: Part | None = None
    sizes: dict[int, int] = field(default_factory=lambda: defaultdict(int))


def split(dataset: Dataset, scan: Scan, validation: float, test: float, seed: int) -> Split:
    """Hold out a share of the photos of each class.

    Each class has something to learn from, then something to decide by, then something to judge
    by, as far as it has animals. A part that the layout fixes stays as it is, and its share is
    not used.

    Args:
        scan: of the same data set.
        validation, test: shares of each class, 0 or more, together less than 1.
        seed: the same seed gives the same split of the same files on every machine, and nearly
            the same where a few files more decode.
    """
    if validation < 0 or test < 0 or validation + test >= 1:
        raise ValueError(
            f"validation {validation} and test {test} must be 0 or more, together less than 1"
        )
    photos = [photo for photo in dataset.photos if photo.path not in scan.undecodable]
    photos.sort(key=lambda photo: photo.path)
    fixed = {photo.part for photo in photos}
    shares: dict[Part, float] = {}
    if validation and "validation" not in fixed:
        shares["validation"] = validation
    if test and "test" not in fixed:
        shares["test"] = test
    units, dropped = _units(photos, scan, seed)
    _place(dataset, [unit for unit in units if unit.part is None], shares)
    parts: dict[Part, list[Photo]] = {"training": [], "validation": [], "test": []}
    for unit in units:
        parts[unit.part or "training"] += unit.photos
    for placed in (*parts.values(), dropped):
        placed.sort(key=lambda photo: photo.path)
    held_out = {photo.label for photo in (*parts["validation"], *parts["test"])}
    return Split(
        training=tuple(parts["training"]),
        validation=tuple(parts["validation"]),
        test=tuple(parts["test"]),
        dropped=tuple(dropped),
        hash=_hash(parts.items()),
        unsplit=tuple(
            sorted(name for label, name in enumerate(dataset.classes) if label not in held_out)
        ),
    )


def _units(photos: Sequence[Photo], scan: Scan, seed: int) -> tuple[list[_Unit], list[Photo]]:
    """What stays together; and photos that cannot be where their copies are."""
    clusters = Clusters(len(photos))
    numbers = {photo.path: number for number, photo in enumerate(photos)}
    firsts: dict[str, int] = {}
    for number, photo in enumerate(photos):
        clusters.join(firsts.setdefault(photo.group, number), number)
    for first, *others in (*scan.exact, *scan.near):
        for other in others:
            clusters.join(numbers[first], numbers[other])
    units, dropped = [], []
    fixing: tuple[Part, ...] = ("test", "validation")
    for members in clusters.members():
        together = [photos[number] for number in members]
        # By rank instead of by shuffling: a file more or less then leaves the others in order.
        name = min(photo.group for photo in together)
        rank = hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogateescape")).digest()
        unit = _Unit(together, rank)
        unit.part = next((part for part in fixing if any(p.part == part for p in together)), None)
        if unit.part is not None:
            unit.photos = [photo for photo in together if photo.part == unit.part]
            dropped += [photo for photo in together if photo.part != unit.part]
        for photo in unit.photos:
            unit.sizes[photo.label] += 1
        units.append(unit)
    return units, dropped


def _place(dataset: Dataset, units: Iterable[_Unit], shares: dict[Part, float]) -> None:
    """Give each unit its part."""
    of_class: dict[int, list[_Unit]] = defaultdict(list)
    for unit in units:
        for label in unit.sizes:
            of_class[label].append(unit)
    # The smallest classes first: they have no animal to spare.
    for label in sorted(of_class, key=lambda label: (len(of_class[label]), dataset.classes[label])):
        _place_class(label, of_class[label], shares)


def _place_class(label: int, units: list[_Unit], shares: dict[Part, float]) -> None:
    """Place the units of a class but for those that another class, smaller, has placed."""
    total = sum(unit.sizes[label] for unit in units)
    placed: dict[Part, list[_Unit]] = defaultdict(list)
    for unit in units:
        if unit.part is not None:
            placed[unit.part].append(unit)
    free = sorted((unit for unit in units if unit.part is None), key=lambda unit: unit.rank)
    # One is kept to learn from, and one for each part that comes later.
    spare = len(free) - (0 if placed["training"] else 1)
    empty = [part for part in shares if not placed[part]]
    for part, share in shares.items():
        if part in empty:
            empty.remove(part)
        at_most = spare - len(empty)
        if not placed[part]:
            at_most = max(at_most, min(spare, 1))
        chosen = _fill(label, free, share * total, placed[part], at_most)
        for unit in chosen:
            unit.part = part
        free = [unit for unit in free if unit.part is None]
        spare -= len(chosen)
    for unit in free:
        unit.part = "training"


def _fill(
    label: int, free: list[_Unit], target: float, there: list[_Unit], at_most: int
) -> list[_Unit]:
    """Units that bring a part near to as many photos as it should have, one at least if it may."""
    filled = sum(unit.sizes[label] for unit in there)
    chosen: list[_Unit] = []
    for unit in free:
        if len(chosen) < at_most and filled + unit.sizes[label] / 2 <= target:
            chosen.append(unit)
            filled += unit.sizes[label]
    if not chosen and not there and at_most > 0:
        chosen.append(min(free, key=lambda unit: (unit.sizes[label], unit.rank)))
    return chosen


def _lines(parts: Iterable[tuple[Part, Sequence[Photo]]]) -> list[str]:
    return sorted(f"{part} {photo.path}" for part, photos in parts for photo in photos)


def _hash(parts: Iterable[tuple[Part, Sequence[Photo]]]) -> str:
    lines = _lines(parts)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
