from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.training.data.photos import jpeg, picture, snapshot, write_files
from tests.training.small_sets import ITALIAN
from training.data.check import check_data
from training.data.report import Crossing, PhotoSize


def write_cats(folder: Path) -> Path:
    """Twelve Siamese of two photos each, six Manx, one Chinchilla; a copy, a conflict, faults."""
    files = {
        f"images/{breed}/{animal}_{number}.jpg": jpeg(picture(animal * 10 + number, 120, 90))
        for breed, animals in (
            ("Siamese", range(12)),
            ("Manx", range(20, 26)),
            ("Chinchilla", [40]),
        )
        for animal in animals
        for number in range(2)
    }
    files["images/Siamese/50_1.jpg"] = files["images/Siamese/3_0.jpg"]
    files["images/Manx/51_1.jpg"] = jpeg(picture(40, 60, 45), quality=60)
    files["images/Manx/52_1.jpg"] = b"<html>"
    rows = ["1,Siamese", "99,Siamese"]
    files["data/cats.csv"] = "\n".join(["id,breed", *rows]).encode()
    return write_files(folder, files)


def test_a_report_counts_and_names_what_is_wrong(tmp_path: Path) -> None:
    folder = write_cats(tmp_path / "set")
    report = check_data("cat-breeds", folder, 0.2, 0.2, 42)
    assert (report.photos, report.animals) == (41, 22)
    counts = {count.name: count for count in report.classes}
    assert {name: count.total for name, count in counts.items()} == {
        "Chinchilla": 2,
        "Manx": 14,
        "Siamese": 25,
    }
    assert counts["Manx"].undecodable == 1
    assert report.majority_class == "Siamese"
    for part, count in report.parts.items():
        of_classes = [getattr(found, part) for found in report.classes]
        assert count.photos == sum(of_classes)
        assert count.classes == sum(number > 0 for number in of_classes)
        assert count.share == count.photos / 40
        assert count.majority_baseline == getattr(counts["Siamese"], part) / count.photos
    assert report.undecodable == {"images/Manx/52_1.jpg": "not an image format that is taken"}
    assert report.rows_without_file == ("99",)
    (exact,) = report.exact_copies
    assert exact.paths == ("images/Siamese/3_0.jpg", "images/Siamese/50_1.jpg")
    assert (exact.classes, exact.animals) == (("Siamese",), 2)
    (near,) = report.near_copies
    assert near.paths == ("images/Manx/51_1.jpg", "images/Siamese/4_0.jpg")
    assert report.label_conflicts == (near,)
    assert near.classes == ("Manx", "Siamese")
    assert report.unsplit == ("Chinchilla",)
    assert report.smallest == PhotoSize("images/Manx/51_1.jpg", 60, 45)
    assert report.largest is not None
    assert (report.largest.width, report.largest.height) == (120, 90)


def test_classes_that_can_never_be_right_are_named(tmp_path: Path) -> None:
    """Of one nothing decodes, in the folder of the other nothing is."""
    folder = write_cats(tmp_path / "set")
    write_files(folder, {f"images/Sphynx/{n}_1.jpg": b"no photo" for n in range(60, 64)})
    (folder / "images" / "Empty").mkdir()
    report = check_data("cat-breeds", folder, 0.2, 0.2, 42)
    assert report.unsplit == ("Chinchilla", "Empty", "Sphynx")
    counts = {count.name: (count.total, count.decodable) for count in report.classes}
    assert (counts["Empty"], counts["Sphynx"]) == ((0, 0), (4, 0))
    assert counts["Manx"] == (14, 13)


def test_the_majority_class_is_that_of_the_baseline(tmp_path: Path) -> None:
    """Of two with as many photos; the first photo is not of the first class."""
    files = {f"raw-img/{name}/1.jpg": jpeg(picture(n)) for n, name in enumerate(ITALIAN.values())}
    for n in range(20):
        files[f"raw-img/cane/dog {n}.jpg"] = jpeg(picture(100 + n))
        # The copies of one picture, of which none can be held out from the others.
        files[f"raw-img/farfalla/butterfly {n}.jpg"] = jpeg(picture(200 + max(0, n - 16)))
    report = check_data("animals-10", write_files(tmp_path / "set", files), 0.2, 0.2, 42)
    assert report.majority_class == "butterfly"
    counts = {count.name: count for count in report.classes}
    assert counts["butterfly"].total == counts["dog"].total == 21
    for part, found in report.parts.items():
        assert found.majority_baseline == getattr(counts["butterfly"], part) / found.photos


def test_a_split_of_single_photos_would_leak_and_this_one_does_not(tmp_path: Path) -> None:
    report = check_data("cat-breeds", write_cats(tmp_path / "set"), 0.3, 0.3, 42)
    assert report.crossing == Crossing(animals=0, copies=0)
    assert report.crossing_by_photo.animals > 5


def test_copies_across_a_layouts_own_parts_are_found_and_dropped(tmp_path: Path) -> None:
    files = {
        f"{part}/{part}/{animal}s/{animal}.{n}.jpg": jpeg(picture(n * 4 + offset, 90, 90))
        for part, offset in (("training_set", 0), ("test_set", 2))
        for animal, own in (("cat", 0), ("dog", 1))
        for n in range(own * 1000, own * 1000 + 6)
    }
    files["training_set/training_set/cats/cat.7.jpg"] = files["test_set/test_set/cats/cat.2.jpg"]
    report = check_data("cats-and-dogs", write_files(tmp_path / "set", files), 0.2, 0, 42)
    assert report.dropped == ("training_set/training_set/cats/cat.7.jpg",)
    assert report.crossing == Crossing(0, 0)
    assert report.crossing_by_photo == Crossing(0, 1)
    assert report.parts["test"].photos == 12
    assert {count.name: count.dropped for count in report.classes} == {"cat": 1, "dog": 0}


def test_a_report_is_json(tmp_path: Path) -> None:
    report = check_data("cat-breeds", write_cats(tmp_path / "set"), 0.2, 0.2, 42)
    read = json.loads(json.dumps(asdict(report)))
    assert read["parts"]["test"]["photos"] == report.parts["test"].photos
    assert read["split_hash"] == report.split_hash


def test_a_set_of_which_nothing_decodes_is_reported(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "set", {"Bengal_1.jpg": b"", "Bengal_2.jpg": b"x"})
    report = check_data("pets", folder, 0.2, 0.2, 42)
    assert len(report.undecodable) == 2
    assert report.smallest is None
    assert report.parts["training"].majority_baseline is None


@pytest.mark.parametrize("cache", ["cache home", "set", "set/new/folder"])
def test_a_data_folder_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    """Nor where the user has caches in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
    folder = write_cats(tmp_path / "set")
    before = snapshot(folder)
    check_data("cat-breeds", folder, 0.2, 0.2, 42)
    check_data("cat-breeds", folder, 0.2, 0.2, 42)
    assert snapshot(folder) == before
