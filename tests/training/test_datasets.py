from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.datasets import Dataset, DatasetError, Photo, read_cat_breeds, split


def write_set(folder: Path, files: list[str], rows: list[str]) -> Path:
    (folder / "data").mkdir(parents=True)
    table = ["id,type,breed,age", *rows]
    (folder / "data" / "cats.csv").write_text("\n".join(table) + "\n")
    for name in files:
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def test_an_id_that_is_the_prefix_of_another_is_another_animal(tmp_path: Path) -> None:
    folder = write_set(
        tmp_path,
        ["Siamese/123_1.jpg", "Siamese/123_2.jpg", "Siamese/1234_1.jpg", "Sphynx/9_1.jpg"],
        ["123,cat,Siamese,Young", "1234,cat,Siamese,Young", "9,cat,Sphynx,Old"],
    )
    dataset = read_cat_breeds(folder)
    assert dataset.classes == ("Siamese", "Sphynx")
    assert [photo.animal for photo in dataset.photos] == ["1234", "123", "123", "9"]
    assert [photo.label for photo in dataset.photos] == [0, 0, 0, 1]
    assert dataset.rows_without_file == ()


def test_rows_without_a_file_are_reported(tmp_path: Path) -> None:
    folder = write_set(tmp_path, ["Siamese/12_1.jpg"], ["12,cat,Siamese,Old", "1,cat,Siamese,Old"])
    assert read_cat_breeds(folder).rows_without_file == ("1",)


@pytest.mark.parametrize(
    ("files", "header", "named"),
    [
        (["Siamese/1_1.jpg"], "id,kind", "column breed is missing"),
        ([], "id,breed", "images"),
    ],
)
def test_what_is_not_the_layout_is_refused_by_name(
    tmp_path: Path, files: list[str], header: str, named: str
) -> None:
    folder = write_set(tmp_path, files, [])
    (folder / "data" / "cats.csv").write_text(header + "\n")
    with pytest.raises(DatasetError, match=named):
        read_cat_breeds(folder)


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cats\.csv"):
        read_cat_breeds(tmp_path)


def test_an_animal_that_is_listed_under_two_breeds_stays_on_one_side() -> None:
    photos = tuple(
        Photo(Path(f"{label}/{animal}_1.jpg"), label, str(animal))
        for label in range(2)
        for animal in range(40)
    )
    parts = split(Dataset(Path(), ("a", "b"), photos, ()), 0.2, 1)
    assert not {p.animal for p in parts.training} & {p.animal for p in parts.validation}
    assert len(parts.validation) == 16


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    classes = draw(st.integers(1, 5))
    photos = [
        Photo(Path(f"images/{label}/{animal}_{n}.jpg"), label, f"{label}-{animal}")
        for label in range(classes)
        for animal in range(draw(st.integers(1, 8)))
        for n in range(draw(st.integers(1, 4)))
    ]
    return Dataset(Path(), tuple(f"breed {n}" for n in range(classes)), tuple(photos), ())


@given(dataset=datasets(), share=st.floats(0.05, 0.9), seed=st.integers(0, 100))
def test_a_split_keeps_animals_together_and_classes_on_both_sides(
    dataset: Dataset, share: float, seed: int
) -> None:
    parts = split(dataset, share, seed)
    assert sorted(map(str, (*parts.training, *parts.validation))) == sorted(
        map(str, dataset.photos)
    )
    assert not {p.animal for p in parts.training} & {p.animal for p in parts.validation}
    animals = Counter(label for label, _ in {(p.label, p.animal) for p in dataset.photos})
    for label, name in enumerate(dataset.classes):
        # A class always has something to learn from, and something to judge by where it has two.
        held_out = {p.animal for p in parts.validation if p.label == label}
        assert (name in parts.unsplit) == (animals[label] == 1)
        assert bool(held_out) == (animals[label] > 1) or share > 0.5
        if animals[label] == 1:
            assert not held_out


@given(dataset=datasets(), seed=st.integers(0, 100))
def test_the_same_seed_gives_the_same_split_and_hash(dataset: Dataset, seed: int) -> None:
    again = Dataset(dataset.folder, dataset.classes, dataset.photos[::-1], ())
    assert split(dataset, 0.3, seed).hash == split(again, 0.3, seed).hash


def test_the_hash_tells_splits_apart() -> None:
    photos = tuple(Photo(Path(f"{n}_1.jpg"), 0, str(n)) for n in range(30))
    dataset = Dataset(Path(), ("a",), photos, ())
    assert len({split(dataset, 0.3, seed).hash for seed in range(10)}) == 10
