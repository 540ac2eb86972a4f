from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.data.photos import jpeg, lone_photos, picture, snapshot
from training.data import scan_cache
from training.data.dataset import Dataset, Photo
from training.data.scan import scan


def test_broken_files_and_copies_are_told_apart(tmp_path: Path) -> None:
    photo, other, third = (picture(seed, 200, 150) for seed in (1, 2, 3))
    dataset = lone_photos(
        tmp_path / "set",
        {
            "a.jpg": jpeg(photo),
            "a again.jpg": jpeg(photo),
            "a small.jpg": jpeg(photo.resize((100, 75))),
            "b.jpg": jpeg(other),
            "b again.jpg": jpeg(other),
            "c.jpg": jpeg(third),
            "page.jpg": b"<html>",
            "page again.jpg": b"<html>",
        },
    )
    found = scan(dataset)
    assert set(found.undecodable) == {"page again.jpg", "page.jpg"}
    assert found.exact == (("a again.jpg", "a.jpg"), ("b again.jpg", "b.jpg"))
    assert found.near == (("a again.jpg", "a small.jpg", "a.jpg"),)
    sizes = dict(zip((photo.path for photo in dataset.photos), found.sizes.tolist(), strict=True))
    assert sizes["a small.jpg"] == [100, 75]
    assert sizes["page.jpg"] == [0, 0]


def test_plain_pictures_are_copies_only_where_their_files_are(tmp_path: Path) -> None:
    files = {f"{n}.jpg": jpeg(picture(1).resize((60 + n, 60)).point(lambda _: 0)) for n in range(9)}
    found = scan(lone_photos(tmp_path / "set", files | {"again.jpg": files["3.jpg"]}))
    assert found.near == ()
    assert found.exact == (("3.jpg", "again.jpg"),)


def test_many_photos_are_read_by_processes_and_nothing_is_changed(tmp_path: Path) -> None:
    files = {f"{n:03}.jpg": jpeg(picture(n)) for n in range(230)} | {"230.jpg": b"no photo"}
    dataset = lone_photos(tmp_path / "set", files)
    before = snapshot(tmp_path / "set")
    found = scan(dataset)
    assert snapshot(tmp_path / "set") == before
    assert set(found.undecodable) == {"230.jpg"}
    assert (found.exact, found.near) == ((), ())
    assert found.sizes[:230].tolist() == [[96, 72]] * 230


def test_a_second_scan_reads_only_what_has_changed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    names = ("same.jpg", "changed.jpg", "broken.jpg")
    dataset = lone_photos(folder, {name: jpeg(picture(n)) for n, name in enumerate(names)})
    assert scan(dataset).undecodable == {}
    for name in names:
        found = (folder / name).stat()
        (folder / name).write_bytes(bytes(found.st_size))
        if name != "changed.jpg":
            os.utime(folder / name, ns=(found.st_atime_ns, found.st_mtime_ns))
    # That two of them are broken now cannot be told from outside, so they were not read again.
    assert set(scan(dataset).undecodable) == {"changed.jpg"}


def test_what_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    dataset = lone_photos(folder, {"1.jpg": jpeg(picture(1))})
    (folder / "1.jpg").rename(folder / "away")
    assert scan(dataset).undecodable == {"1.jpg": "No such file or directory"}
    (folder / "away").rename(folder / "1.jpg")
    assert scan(dataset).undecodable == {}


def test_a_cache_that_cannot_be_written_is_said_and_not_fatal(
    tmp_path: Path, cache_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache_home.write_text("a file where a folder should be")
    dataset = lone_photos(tmp_path / "set", {"1.jpg": jpeg(picture(1))})
    with caplog.at_level(logging.WARNING):
        assert scan(dataset).undecodable == {}
    assert "cannot be kept" in caplog.text


def test_names_that_are_not_utf8_are_read_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9\n_1.jpg")
    try:
        (folder / name).write_bytes(b"no photo")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    dataset = Dataset(folder, ("cat",), (Photo(name, 0, name),))
    assert set(scan(dataset).undecodable) == set(scan(dataset).undecodable) == {name}


def test_ctrl_c_leaves_what_was_scanned(tmp_path: Path) -> None:
    """After some photos all processes get the signal that Ctrl-C sends."""
    folder = tmp_path / "set"
    dataset = lone_photos(folder, {f"{n:03}.jpg": jpeg(picture(n)) for n in range(300)})
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from pathlib import Path
from training.data.dataset import Dataset, Photo
from training.data.scan import scan
from training.data.scan_cache import FactsTable

class Table(FactsTable):
    def put(self, row, facts, seen=[]):
        super().put(row, facts)
        seen.append(row)
        if len(seen) == 40:
            os.killpg(0, signal.SIGINT)

FactsTable.empty = lambda paths, empty=FactsTable.empty: Table(**vars(empty(paths)))
folder = Path(sys.argv[1])
paths = sorted(path.name for path in folder.iterdir())
scan(Dataset(folder, ("cat",), tuple(Photo(path, 0, path) for path in paths)))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=120,
    )
    assert ended.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in ended.stderr
    kept = scan_cache.load(folder)
    assert kept is not None
    assert 40 <= (kept.rows["state"] != scan_cache.UNKNOWN).sum() < 300
    assert scan(dataset).undecodable == {}
    kept = scan_cache.load(folder)
    assert kept is not None
    assert (kept.rows["state"] != scan_cache.UNKNOWN).sum() == 300


def test_a_killed_process_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    dataset = lone_photos(tmp_path / "set", {f"{n:03}.jpg": jpeg(picture(n)) for n in range(300)})
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from multiprocessing import active_children
from pathlib import Path
from training.data.dataset import Dataset, DatasetError, Photo
from training.data.scan import scan
from training.data.scan_cache import FactsTable

class Table(FactsTable):
    def put(self, row, facts):
        super().put(row, facts)
        for child in active_children():
            os.kill(child.pid, signal.SIGKILL)

FactsTable.empty = lambda paths, empty=FactsTable.empty: Table(**vars(empty(paths)))
folder = Path(sys.argv[1])
paths = sorted(path.name for path in folder.iterdir())
try:
    scan(Dataset(folder, ("cat",), tuple(Photo(path, 0, path) for path in paths)))
except DatasetError as error:
    print(error)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, str(dataset.folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert answer.stdout.startswith(f"{dataset.folder}: a process that decodes photos was killed")
    assert scan(dataset).undecodable == {}
