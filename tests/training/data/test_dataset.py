from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training.data.dataset import Dataset, DatasetError, Photo, check_outside, is_inside


def test_the_baseline_always_gives_the_commonest_class_of_the_whole_set() -> None:
    photos = [Photo(f"{n}.jpg", int(n >= 7), str(n)) for n in range(10)]
    dataset = Dataset(Path(), ("cat", "dog"), tuple(photos))
    assert dataset.majority_baseline(photos) == pytest.approx(0.7)
    assert dataset.majority_baseline(photos[6:]) == pytest.approx(0.25)


def test_of_two_commonest_classes_the_first_is_the_baseline() -> None:
    """Whichever of their photos comes first."""
    photos = tuple(Photo(f"{n}.jpg", int(n < 5), str(n)) for n in range(10))
    dataset = Dataset(Path(), ("cat", "dog", "none"), photos)
    assert dataset.majority_label == 0
    assert dataset.majority_baseline(photos[:6]) == pytest.approx(1 / 6)


def test_what_lies_in_a_folder_is_told_whatever_links_lead_there(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "link").symlink_to("set")
    (tmp_path / "loop").symlink_to("loop")
    for inside in (folder, folder / "new" / "file", tmp_path / "link" / "file"):
        assert is_inside(inside, folder)
        assert is_inside(inside, tmp_path / "link")
        with pytest.raises(DatasetError, match=r"lies in the data folder .*/set, .* --out is"):
            check_outside(inside, folder, "--out")
    for outside in (tmp_path / "set 2", folder / ".." / "run", tmp_path, tmp_path / "loop" / "x"):
        assert not is_inside(outside, folder)
        check_outside(outside, folder, "--out")


def test_the_package_does_not_load_torch() -> None:
    """The processes that decode start in a fraction of a second for it."""
    modules = "check, check_picture, layouts, photo_facts, scan, split"
    code = f"import sys; from training.data import {modules}; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"


def test_only_the_picture_loads_matplotlib() -> None:
    code = "import sys, training.data.check; print('matplotlib' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"
