from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training.data.dataset import Dataset, Photo


def test_the_baseline_always_gives_the_commonest_class_of_the_whole_set() -> None:
    photos = [Photo(f"{n}.jpg", int(n >= 7), str(n)) for n in range(10)]
    dataset = Dataset(Path(), ("cat", "dog"), tuple(photos))
    assert dataset.majority_baseline(photos) == pytest.approx(0.7)
    assert dataset.majority_baseline(photos[6:]) == pytest.approx(0.25)


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
