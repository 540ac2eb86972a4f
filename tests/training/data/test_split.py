from __future__ import annotations

import dataclasses
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.dataset import Dataset, Photo
from training.data.scan import Scan
from training.data.split import Split, split


def scanned(
    dataset: Dataset,
    undecodable: tuple[str, ...] = (),
    exact: tuple[tuple[str, ...], ...] = (),
    near: tuple[tuple[str, ...], ...] = (),
) -> Scan:
    sizes = np.ones((len(dataset.photos), 2), dtype=np.uint32)
    return Scan(dict.fromkeys(undecodable, "empty"), sizes, exact, near)


def made(sizes: dict[str, list[int]]) -> Dataset:
    """Class -> photos of each of its animals."""
    photos = [
        Photo(f"{name}/{animal}_{number}.jpg", label, f"{name} {animal}")
        for label, (name, animals) in enumerate(sizes.items())
        for animal, count in enumerate(animals)
        for number in range(count)
    ]
    return Dataset(Path(), tuple(sizes), tuple(sorted(photos, key=lambda photo: photo.path)))


def by_part(parts: Split) -> dict[str, tuple[Photo, ...]]:
    return {"training": parts.training, "validation": parts.validation, "test": parts.test}


def part_of(parts: Split) -> dict[str, str]:
    return {photo.path: part for part, photos in by_part(parts).items() for photo in photos}


@st.composite
def scanned_sets(draw: st.DrawFn) -> tuple[Dataset, Scan]:
    """Unequal classes, animals of several photos and of two classes, files that are broken or
    copies."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    classes = rng.randint(1, 5)
    photos = [
        Photo(f"{label}/{animal}_{number}.jpg", label, f"{label} {animal}")
        for label in range(classes)
        for animal in range(rng.randint(1, 10))
        for number in range(rng.randint(1, 4))
    ]
    for _ in range(rng.randint(0, 2)):  # an animal that is listed under two classes
        one, other = rng.choice(photos), rng.choice(photos)
        photos = [
            dataclasses.replace(photo, group=one.group) if photo.group == other.group else photo
            for photo in photos
        ]
    dataset = Dataset(Path(), tuple(f"class {n}" for n in range(classes)), tuple(photos))
    paths = [photo.path for photo in photos]
    rng.shuffle(paths)
    broken = tuple(paths[: rng.randint(0, len(paths) // 4)])
    good = paths[len(broken) :]
    groups = [
        tuple(sorted(rng.sample(good, min(len(good), rng.randint(2, 4)))))
        for _ in range(rng.randint(0, 3))
    ]
    groups = [group for group in groups if len(group) > 1]
    return dataset, scanned(dataset, broken, tuple(groups[:1]), tuple(groups[1:]))


def together(dataset: Dataset, scan: Scan) -> dict[str, frozenset[str]]:
    """Path -> paths of photos that must be in the same part, found by walking along the ties."""
    ties: dict[str, set[str]] = defaultdict(set)
    of_group: dict[str, list[str]] = defaultdict(list)
    for photo in dataset.photos:
        if photo.path not in scan.undecodable:
            of_group[photo.group].append(photo.path)
    for members in (*of_group.values(), *scan.exact, *scan.near):
        for path in members:
            ties[path] |= set(members)
    found: dict[str, frozenset[str]] = {}
    for start in ties:
        seen, left = {start}, [start]
        while left:
            new = ties[left.pop()] - seen
            seen |= new
            left += new
        found[start] = frozenset(seen)
    return found


SHARES = st.tuples(st.floats(0.05, 0.45), st.sampled_from([0, 0.1, 0.25, 0.45]))


@given(drawn=scanned_sets(), shares=SHARES, seed=st.integers(0, 100))
def test_what_belongs_together_stays_together(
    drawn: tuple[Dataset, Scan], shares: tuple[float, float], seed: int
) -> None:
    dataset, scan = drawn
    parts = split(dataset, scan, *shares, seed)
    placed = part_of(parts)
    # Each photo that decodes is in one part.
    decodable = sorted({photo.path for photo in dataset.photos} - set(scan.undecodable))
    assert sorted(photo.path for photos in by_part(parts).values() for photo in photos) == decodable
    assert parts.dropped == ()
    for members in together(dataset, scan).values():
        assert len({placed[path] for path in members}) == 1


@given(
    sizes=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=12), min_size=1, max_size=5),
    shares=SHARES,
    seed=st.integers(0, 100),
)
def test_each_class_is_learned_from_then_decided_by_then_judged_by(
    sizes: list[list[int]], shares: tuple[float, float], seed: int
) -> None:
    dataset = made({f"class {n}": animals for n, animals in enumerate(sizes)})
    parts = split(dataset, scanned(dataset), *shares, seed)
    wanted = ["training", "validation", "test"] if shares[1] else ["training", "validation"]
    for label, animals in enumerate(sizes):
        counts = {
            part: sum(photo.label == label for photo in photos)
            for part, photos in by_part(parts).items()
        }
        shown = [part for part in wanted if counts[part]]
        assert shown == wanted[: len(animals)]
        assert (dataset.classes[label] in parts.unsplit) == (len(animals) == 1)
        if len(animals) >= 3 * len(wanted):
            for part, share in zip(wanted[1:], shares, strict=False):
                off = abs(counts[part] - share * sum(animals))
                assert off <= max(animals)


def test_a_class_without_a_photo_that_decodes_is_not_split() -> None:
    dataset = made({"empty": [], "broken": [2], "whole": [1] * 9, "lone": [3]})
    broken = tuple(photo.path for photo in dataset.photos if photo.label == 1)
    parts = split(dataset, scanned(dataset, broken), 0.2, 0.2, 42)
    assert parts.unsplit == ("broken", "empty", "lone")


def test_shares_of_large_classes_are_met_closely() -> None:
    animals = [1 + n % 4 for n in range(400)]
    dataset = made({"many": animals, "fewer": animals[:100]})
    parts = split(dataset, scanned(dataset), 0.1, 0.2, 42)
    for label, total in ((0, 1000), (1, 250)):
        counts = [
            sum(photo.label == label for photo in photos) / total
            for photos in by_part(parts).values()
        ]
        assert counts == pytest.approx([0.7, 0.1, 0.2], abs=0.01)


@given(drawn=scanned_sets(), seed=st.integers(0, 100), order=st.randoms(use_true_random=False))
def test_the_order_of_photos_makes_no_difference(
    drawn: tuple[Dataset, Scan], seed: int, order: random.Random
) -> None:
    dataset, scan = drawn
    photos = list(dataset.photos)
    order.shuffle(photos)
    again = dataclasses.replace(dataset, photos=tuple(photos))
    turned = dataclasses.replace(scan, exact=scan.exact[::-1], near=scan.near[::-1])
    assert split(dataset, scan, 0.2, 0.1, seed) == split(again, turned, 0.2, 0.1, seed)


@given(drawn=scanned_sets(), seed=st.integers(0, 100))
def test_a_file_more_that_does_not_decode_changes_nothing(
    drawn: tuple[Dataset, Scan], seed: int
) -> None:
    dataset, scan = drawn
    photo = dataset.photos[0]
    more = dataclasses.replace(photo, path=f"{photo.path} broken.jpg")
    larger = dataclasses.replace(dataset, photos=(*dataset.photos, more))
    broken = dataclasses.replace(scan, undecodable={**scan.undecodable, more.path: "empty"})
    assert split(larger, broken, 0.2, 0.1, seed) == split(dataset, scan, 0.2, 0.1, seed)


def test_a_photo_more_moves_few_of_the_others() -> None:
    dataset = made({"many": [1] * 1000})
    before = part_of(split(dataset, scanned(dataset), 0.1, 0.1, 42))
    larger = made({"many": [1] * 1001})
    after = part_of(split(larger, scanned(larger), 0.1, 0.1, 42))
    assert sum(after[path] != part for path, part in before.items()) <= 4


def test_a_split_is_the_same_on_every_machine() -> None:
    """A changed hash here means that earlier runs cannot be evaluated on their own test photos."""
    dataset = made({"a": [1, 2, 3] * 10, "b": [4, 1], "c": [1]})
    parts = split(dataset, scanned(dataset), 0.1, 0.2, 42)
    assert parts.unsplit == ("c",)
    assert parts.hash == "40ebcdf6e8970ac8b517a6b70d96c4f8710ce97d8f41329257a5bb0701516be4"


@given(seeds=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_the_hash_changes_with_the_assignment_and_only_with_it(seeds: tuple[int, int]) -> None:
    dataset = made({"a": [1] * 4, "b": [2]})
    one, other = (split(dataset, scanned(dataset), 0.3, 0.3, seed) for seed in seeds)
    assert (one.hash == other.hash) == (part_of(one) == part_of(other))


def test_different_seeds_give_different_splits() -> None:
    dataset = made({"a": [1] * 30})
    assert len({split(dataset, scanned(dataset), 0.3, 0, seed).hash for seed in range(10)}) == 10


def test_an_animal_that_is_listed_under_two_breeds_stays_on_one_side() -> None:
    photos = tuple(
        Photo(f"{label}/{animal}_1.jpg", label, str(animal))
        for label in range(2)
        for animal in range(40)
    )
    dataset = Dataset(Path(), ("a", "b"), photos)
    parts = split(dataset, scanned(dataset), 0.2, 0, 1)
    assert not {p.group for p in parts.training} & {p.group for p in parts.validation}
    assert len(parts.validation) == 16


def of_layout(test: int, training: int) -> Dataset:
    photos = [Photo(f"test/{n}.jpg", n % 2, f"test/{n}.jpg", "test") for n in range(test)]
    photos += [
        Photo(f"training/{n}.jpg", n % 2, f"training/{n}.jpg", "training") for n in range(training)
    ]
    return Dataset(Path(), ("cat", "dog"), tuple(photos))


def test_a_layouts_own_test_photos_are_the_test_photos() -> None:
    dataset = of_layout(test=20, training=100)
    parts = split(dataset, scanned(dataset), 0.1, 0.4, 42)
    assert {photo.path for photo in parts.test} == {f"test/{n}.jpg" for n in range(20)}
    assert (len(parts.training), len(parts.validation)) == (90, 10)
    assert Counter(photo.label for photo in parts.validation) == {0: 5, 1: 5}


def test_a_training_photo_that_shows_a_test_photo_is_dropped() -> None:
    dataset = of_layout(test=20, training=100)
    # 7 looks like 6, which looks like a test photo.
    near = (("test/1.jpg", "training/6.jpg"), ("training/6.jpg", "training/7.jpg"))
    exact = (("test/2.jpg", "test/4.jpg"),)
    parts = split(dataset, scanned(dataset, exact=exact, near=near), 0.1, 0, 42)
    assert [photo.path for photo in parts.dropped] == ["training/6.jpg", "training/7.jpg"]
    assert len(parts.test) == 20
    assert len(parts.training) + len(parts.validation) == 98


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0), (0.2, -0.1), (0.5, 0.5)])
def test_impossible_shares_are_refused(validation: float, test: float) -> None:
    dataset = made({"a": [1]})
    with pytest.raises(ValueError, match="together less than 1"):
        split(dataset, scanned(dataset), validation, test, 42)
