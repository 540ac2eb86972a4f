"""What is looked at before anything is started."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serving.bench import Options, compare, make_plan
from benchmarks.serving.errors import BenchError
from benchmarks.serving.figures import Cell


def test_without_wrk_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    ended = subprocess.run(
        (str(Path(sys.executable).with_name("catbreeds")), "bench", "--quick"),
        env=os.environ | {"PATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == "error: wrk is not installed: apt-get install wrk\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "side"),
    [
        ("flask", "flask"),
        ("litserve", "litserve-engine"),
        ("captum", "torchserve-stock"),
        ("locust", "ours"),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, side: str
) -> None:
    def find(name: str) -> object | None:
        return None if name == package else object()

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(BenchError, match=rf"{package} is not installed: pip install .*\[bench\]"):
        compare(Options(sides=[side]))


def test_an_unknown_choice_is_named() -> None:
    with pytest.raises(BenchError, match=r"--sides: 'nginx' is not allowed; one of \['flask'"):
        compare(Options(sides=["ours", "nginx"]))
    with pytest.raises(BenchError, match=r"--photos: 'huge' is not allowed; one of \['small'"):
        make_plan(Options(photos=["huge"]))


def test_capacity_is_known_before_open_loops_need_it() -> None:
    for options in (Options(), Options(quick=True)):
        cells = make_plan(options).cells
        first_open = next(at for at, cell in enumerate(cells) if cell.loop == "open")
        assert Cell("closed", "small", 8) in cells[:first_open]
        assert {cell.level for cell in cells if cell.loop == "open"} >= {80, 120}
    assert all(cell.loop == "closed" for cell in make_plan(Options(only_closed=True)).cells)
    assert all(cell.loop == "closed" for cell in make_plan(Options(photos=["large"])).cells)
