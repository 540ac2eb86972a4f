"""The commands from photos to an archive, as they are typed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.training_commands import check
from tests.training.data.photos import jpeg, picture, write_files
from tests.training.small_sets import write_small_set
from training.data import check_picture, scan_cache
from training.data.dataset import DatasetError
from training.data.layouts import read_dataset
from training.data.scan_cache import COMPARABLE, UNDECODABLE, FactsTable

PHOTOS_OF_THE_REAL_SET = 126_607
SOURCES = 20
# Those that no earlier scan has seen, enough for processes that decode.
NEW = 300
BROKEN = 100

# The command, and then its peak memory. Not ru_maxrss, which begins with the memory of the process
# that started this one.
MEASURED = """
import atexit, re, sys
from pathlib import Path

def tell():
    status = Path("/proc/self/status").read_text()
    print(re.search(r"VmHWM:\\s*(\\d+) kB", status)[0], file=sys.stderr)

atexit.register(tell)
from serving.cli import main
main()
"""


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "cache home"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    files = {f"cat.{n}.jpg": jpeg(picture(n)) for n in range(6)}
    files |= {f"dog.{n}.jpg": jpeg(picture(100 + n)) for n in range(6)}
    return write_files(tmp_path / "set", files)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_report_is_printed_before_a_picture_fails(
    cats: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    as_json: bool,
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no picture")

    monkeypatch.setattr(check_picture, "draw", fails)
    with pytest.raises(OSError, match="no picture"):
        check("dogs-vs-cats", cats, tmp_path / "check.png", as_json)
    printed = capsys.readouterr().out
    if as_json:
        assert json.loads(printed)["photos"] == 12
    else:
        assert "12 photos, 2 classes" in printed


def test_a_folder_a_class_is_checked_by_any_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_small_set("animals-10", tmp_path / "set", 3)
    photos = tmp_path / "set" / "raw-img"
    (photos / "lone.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"layout dogs-vs-cats is due.*data\.layout=folders"):
        check("dogs-vs-cats", photos)
    check("dogs-vs-cats", photos, changes=["data.layout=folders"])
    printed = capsys.readouterr().out
    assert "10 classes" in printed
    assert "each counts as another" in printed
    assert re.search(r"Passed over: .*: 1\n +lone\.jpg", printed)


def test_a_picture_in_the_data_folder_is_refused_before_anything_is_read(
    cats: Path, tmp_path: Path, cache_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to("set")
    with pytest.raises(DatasetError, match="lies in the data folder"):
        check("dogs-vs-cats", tmp_path / "link", cats / "check.png")
    assert capsys.readouterr().out == ""
    assert not cache_home.exists()


def test_names_that_are_not_utf8_are_reported_and_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    photo = jpeg(picture(1))
    try:
        write_files(folder, {"caf\udce9/1.jpg": photo, "caf\udce9/2.jpg": photo, "owl/3.jpg": b""})
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    recipe = tmp_path / "birds.toml"
    shown = catbreeds("recipes", "show", "demo", "--toml").stdout
    recipe.write_text(re.sub('layout = ".*"', 'layout = "folders"', shown))
    found = catbreeds("data", "check", recipe, folder, "--picture", tmp_path / "check.png")
    assert "caf?" in found.stdout
    assert "owl: no photo that decodes" in found.stdout
    assert (tmp_path / "check.png").stat().st_size > 1000


@pytest.fixture
def folder_for_many() -> Iterator[Path]:
    """In memory where there is such a place, and gone afterwards: files are made in seconds."""
    memory = Path("/dev/shm")  # noqa: S108
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(dir=memory if usable else None) as folder:
        yield Path(folder)


def test_the_whole_real_set_is_checked_in_little_memory(folder_for_many: Path) -> None:
    """As the second time, with some photos that are new: a first scan of all takes minutes."""
    write_many(folder_for_many)
    keep_what_a_scan_would_have_found(folder_for_many)
    found = catbreeds("data", "check", "cat-breeds", folder_for_many, "--json", measured=True)
    report = json.loads(found.stdout)
    assert (report["photos"], report["rows_without_file"]) == (PHOTOS_OF_THE_REAL_SET, [])
    assert len(report["classes"]) == 67
    placed = sum(part["photos"] for part in report["parts"].values())
    assert placed == PHOTOS_OF_THE_REAL_SET - BROKEN
    assert len(report["near_copies"]) > 1000
    match = re.search(r"VmHWM:\s*(\d+) kB", found.stderr)
    assert match is not None
    assert int(match[1]) * 1024 <= 300_000_000


def write_many(folder: Path) -> None:
    """As many photos of 67 breeds, very unequal, as the real set has; links to some few files."""
    for number in range(SOURCES):
        (folder / f"{number}.jpg").write_bytes(jpeg(picture(number, 32, 24)))
    for number in range(67):
        (folder / "images" / f"Breed number {number:02}").mkdir(parents=True)
    rows = ["id,type,breed,age"]
    for n in range(PHOTOS_OF_THE_REAL_SET):
        breed = f"Breed number {0 if n % 5 < 2 else n % 67:02}"
        animal = 31_000_000 + n
        rows.append(f"{animal},cat,{breed},Young")
        os.link(folder / f"{n % SOURCES}.jpg", f"{folder}/images/{breed}/{animal}_{n % 300}.jpg")
    (folder / "data").mkdir()
    (folder / "data" / "cats.csv").write_text("\n".join(rows) + "\n")


def keep_what_a_scan_would_have_found(folder: Path) -> None:
    """Of all but the new photos: different files, each fiftieth of which looks as its neighbour."""
    table = FactsTable.empty([photo.path for photo in read_dataset("cat-breeds", folder).photos])
    random = np.random.default_rng(0)
    count = len(table.paths)
    for row, path in enumerate(table.paths):
        found = (folder / path).stat()
        table.rows[row]["size"], table.rows[row]["mtime_ns"] = found.st_size, found.st_mtime_ns
    table.rows["state"][NEW:] = COMPARABLE
    table.rows["sha256"] = random.integers(0, 256, (count, 32), dtype=np.uint8)
    table.rows["look"] = random.integers(0, 2**64, (count, 3), dtype=np.uint64)
    table.rows["look"][1::50] = table.rows["look"][::50][: len(table.rows["look"][1::50])]
    table.rows["width"], table.rows["height"] = 500, 400
    table.rows["state"][-BROKEN:] = UNDECODABLE
    table.errors = dict.fromkeys(range(count - BROKEN, count), "damaged or truncated")
    scan_cache.save(folder, table)


def catbreeds(*words: object, measured: bool = False) -> subprocess.CompletedProcess[str]:
    code = MEASURED if measured else "from serving.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
