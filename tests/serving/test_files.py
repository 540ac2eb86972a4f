"""A file is replaced whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.files import copy_durably, remove_partials, write_durably

_OURS = "deployed.json"
_COPIES_A_PIPE = """
import sys
from pathlib import Path
from serving.files import copy_durably
copy_durably(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A limit on file sizes stands for a full disk: a write fails half-way just the same."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / _OURS
    write_durably(path, "für alle")
    assert path.read_text(encoding="utf-8") == "für alle"
    write_durably(path, b"\0\xff", 0o600)
    assert path.read_bytes() == b"\0\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == [_OURS]


def test_readers_see_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / _OURS
    write_durably(path, "old")
    with path.open() as reader:
        write_durably(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    source, target = tmp_path / "source.mar", tmp_path / "target.mar"
    source.write_bytes(os.urandom(3_000_000))
    target.write_text("before")
    with files_of_at_most(2_000_000):
        with pytest.raises(OSError, match="File too large"):
            copy_durably(source, target)
        with pytest.raises(OSError, match="File too large"):
            write_durably(target, source.read_bytes())
    assert target.read_text() == "before"
    assert names(tmp_path) == ["source.mar", "target.mar"]
    copy_durably(source, target)
    assert target.read_bytes() == source.read_bytes()


def test_a_source_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy_durably(tmp_path / "source.mar", tmp_path / "target.mar")
    assert names(tmp_path) == []


def test_what_a_killed_copy_leaves_is_recognised(tmp_path: Path) -> None:
    """The source is a pipe that nobody finishes: the copy is at work when it is killed."""
    pipe, store = tmp_path / "pipe", tmp_path / "store"
    os.mkfifo(pipe)
    store.mkdir()
    copying = subprocess.Popen((sys.executable, "-c", _COPIES_A_PIPE, pipe, store / "a.mar"))
    try:
        with pipe.open("wb"):
            deadline = time.monotonic() + 60
            while not names(store):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            copying.send_signal(signal.SIGKILL)
            copying.wait()
    finally:
        copying.kill()
        copying.wait()
    (left,) = names(store)
    assert left.startswith(".a.mar.")
    others = ["a.mar", "a.mar.sig", ".b.a.mar.0123abcd.partial", ".a.mar.7.partial"]
    for name in others:
        (store / name).touch()
    remove_partials(store, "a")
    assert left in names(store)
    remove_partials(store, "a.mar")
    assert names(store) == sorted(others)
