from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.data.photos import jpeg, picture, snapshot, write_files
from training.data.check import check_data
from training.data.check_picture import draw
from training.data.dataset import DatasetError
from training.data.report import ClassCount, DataReport


@pytest.fixture
def report(tmp_path: Path) -> DataReport:
    files = {f"Bengal_{n}.jpg": jpeg(picture(n, 120, 90)) for n in range(12)}
    files |= {f"beagle_{n}.jpg": jpeg(picture(100 + n)) for n in range(6)}
    files["beagle_7.jpg"] = jpeg(picture(3, 60, 45))
    return check_data("pets", write_files(tmp_path / "set", files), 0.2, 0.2, 42)


def drawn(report: DataReport, path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    draw(report, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def shows(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], colour: str) -> bool:
    wanted = [int(colour[i : i + 2], 16) for i in (0, 2, 4)]
    # An area: single pixels of many greys are at the edges of letters.
    return int((pixels == wanted).all(axis=-1).sum()) > 300


def test_parts_have_their_colours_and_nothing_is_changed(
    report: DataReport, tmp_path: Path
) -> None:
    before = snapshot(tmp_path / "set")
    pixels = drawn(report, tmp_path / "check.png")
    for colour in ("0072B2", "E69F00", "009E73"):
        assert shows(pixels, colour)
    assert not shows(pixels, "AAAAAA")
    assert snapshot(tmp_path / "set") == before


def test_photos_that_look_the_same_are_shown(report: DataReport, tmp_path: Path) -> None:
    with_pair = drawn(report, tmp_path / "with.png")
    without = drawn(dataclasses.replace(report, near_copies=()), tmp_path / "without.png")
    assert with_pair.shape[0] > without.shape[0] + 100


def test_very_unequal_classes_can_all_be_seen(report: DataReport, tmp_path: Path) -> None:
    counts = (ClassCount("one", 1, 0, 0, 0, 0), ClassCount("many", 50_000, 0, 0, 0, 0))
    unequal = dataclasses.replace(report, classes=counts, near_copies=())
    pixels = drawn(unequal, tmp_path / "check.png")
    blue = (pixels == [0x00, 0x72, 0xB2]).all(axis=-1).sum(axis=1)
    # Rows of pixels through the short bar; those of the long one are ten times as long.
    assert ((blue > 10) & (blue < 0.3 * blue.max())).sum() >= 10


def test_any_class_name_can_be_drawn(report: DataReport, tmp_path: Path) -> None:
    names = ("$x_{$ 50%", "猫" * 60, "a" * 200, "", "caf\udce9\x1b\n")
    counts = (*(ClassCount(name, 5, 0, 0, 1, 1) for name in names), ClassCount("-", *[0] * 5))
    assert shows(drawn(dataclasses.replace(report, classes=counts), tmp_path / "c.png"), "AAAAAA")


def test_any_name_of_a_photo_can_be_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    copy = jpeg(picture(1, 60, 45), quality=60)
    try:
        write_files(folder, {"Bengal_1.jpg": jpeg(picture(1, 120, 90)), "caf\udce9_2.jpg": copy})
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    report = check_data("pets", folder, 0.2, 0.2, 42)
    assert len(report.near_copies) == 1
    drawn(report, tmp_path / "check.png")


def test_a_picture_in_the_data_folder_is_refused(report: DataReport, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="lies in the data folder"):
        draw(report, tmp_path / "set" / "check.png")
    assert not (tmp_path / "set" / "check.png").exists()
