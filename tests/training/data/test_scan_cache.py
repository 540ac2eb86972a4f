from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.training.data.photos import jpeg, lone_photos, picture
from training.data import scan_cache
from training.data.photo_facts import PhotoFacts, read_facts
from training.data.scan_cache import FactsTable


def table_of(folder: Path) -> FactsTable:
    """One photo, one that does not decode."""
    lone_photos(folder, {"a.jpg": jpeg(picture(1)), "b.jpg": b"no photo"})
    table = FactsTable.empty(["a.jpg", "b.jpg"])
    for row, path in enumerate(table.paths):
        found = (folder / path).stat()
        table.rows[row]["size"], table.rows[row]["mtime_ns"] = found.st_size, found.st_mtime_ns
        table.put(row, read_facts(folder / path))
    return table


def test_what_is_kept_comes_back(tmp_path: Path, cache_home: Path) -> None:
    folder = tmp_path / "set"
    assert scan_cache.load(folder) is None
    table = table_of(folder)
    scan_cache.save(folder, table)
    kept = scan_cache.load(folder)
    assert kept is not None
    assert (kept.paths, kept.errors) == (table.paths, table.errors)
    assert np.array_equal(kept.rows, table.rows)
    (file,) = (cache_home / "catbreeds" / "scans").iterdir()
    assert file == scan_cache.cache_file(folder)


def test_two_names_of_a_folder_share_a_file_and_two_folders_do_not(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to("set")
    assert scan_cache.cache_file(tmp_path / "link") == scan_cache.cache_file(tmp_path / "set")
    assert scan_cache.cache_file(tmp_path / "other") != scan_cache.cache_file(tmp_path / "set")


@pytest.mark.parametrize("value", ["", "not/absolute"])
def test_without_a_usable_variable_the_home_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = scan_cache.cache_file(tmp_path / "set")
    assert path is not None
    assert path.parent == tmp_path / ".cache" / "catbreeds" / "scans"


def test_nothing_is_kept_in_the_data_folder_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    table = table_of(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    assert scan_cache.cache_file(folder) is None
    scan_cache.save(folder, table)
    assert scan_cache.load(folder) is None
    assert {path.name for path in folder.iterdir()} == {"a.jpg", "b.jpg"}


def test_only_files_of_the_same_size_and_time_are_taken_over(tmp_path: Path) -> None:
    kept = table_of(tmp_path / "set")
    now = FactsTable.empty(["b.jpg", "c.jpg", "a.jpg"])
    now.rows["size"] = [kept.rows["size"][1], 9, kept.rows["size"][0]]
    now.rows["mtime_ns"] = [kept.rows["mtime_ns"][1], 9, kept.rows["mtime_ns"][0] + 1]
    now.take_over(kept)
    assert now.rows["state"].tolist() == [scan_cache.UNDECODABLE, 0, 0]
    assert now.errors == {0: kept.errors[1]}


def test_a_file_that_could_not_be_read_is_never_taken_over(tmp_path: Path) -> None:
    tables = [FactsTable.empty(["a.jpg"]) for _ in range(2)]
    for table in tables:
        table.rows["size"] = 5
    tables[0].put(0, PhotoFacts("Permission denied", unread=True))
    tables[1].take_over(tables[0])
    assert tables[1].errors == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "set"
    path = scan_cache.cache_file(folder)
    assert path is not None
    if not path.exists():
        scan_cache.save(folder, table_of(folder))
        path.with_suffix(".good").write_bytes(path.read_bytes())
    good = path.with_suffix(".good").read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(good[:place])
    else:
        flipped = good[place] ^ data.draw(st.integers(1, 255))
        path.write_bytes(good[:place] + bytes([flipped]) + good[place + 1 :])
    assert scan_cache.load(folder) is None


def test_what_other_code_wrote_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "set"
    scan_cache.save(folder, table_of(folder))
    monkeypatch.setattr(scan_cache, "_METHOD", "another")
    assert scan_cache.load(folder) is None


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def text(what: str) -> np.ndarray:
    return np.frombuffer(what.encode(), dtype=np.uint8)


STRANGE: dict[str, Callable[[dict[str, np.ndarray]], bytes]] = {
    "empty": lambda _: b"",
    "no archive": lambda _: b"hello",
    "a pickle": lambda _: pickle.dumps([1]),
    "a lone array": lambda arrays: npy(arrays["rows"]),
    "a damaged archive": lambda arrays: packed(arrays)[:-40],
    "no method": lambda arrays: packed({**arrays, "method": text("")}),
    "no key for the method": lambda arrays: packed({"paths": arrays["paths"]}),
    "no rows": lambda arrays: packed({k: v for k, v in arrays.items() if k != "rows"}),
    "short rows": lambda arrays: packed({**arrays, "rows": arrays["rows"][:1]}),
    "rows of two axes": lambda arrays: packed({**arrays, "rows": arrays["rows"][:, None]}),
    "other rows": lambda arrays: packed({**arrays, "rows": arrays["rows"]["state"]}),
    "fewer fields": lambda arrays: packed({**arrays, "rows": arrays["rows"][["size", "state"]]}),
    "objects": lambda arrays: packed({**arrays, "rows": arrays["rows"].astype(object)}),
    "broken JSON": lambda arrays: packed({**arrays, "errors": text("{")}),
    "a list of errors": lambda arrays: packed({**arrays, "errors": text("[]")}),
    "an error of no row": lambda arrays: packed({**arrays, "errors": text('{"999": "x"}')}),
    "an error without its row": lambda arrays: packed({**arrays, "errors": text("{}")}),
    "one path more": lambda arrays: packed({**arrays, "paths": text("a.jpg\0b.jpg\0c.jpg")}),
}


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("kind", STRANGE)
def test_what_this_code_cannot_read_is_taken_for_none(tmp_path: Path, kind: str) -> None:
    """Its digest is right: it is whole, and of other code."""
    folder = tmp_path / "set"
    table = table_of(folder)
    scan_cache.save(folder, table)
    path = scan_cache.cache_file(folder)
    assert path is not None
    with np.load(io.BytesIO(path.read_bytes()[32:])) as archive:
        content = STRANGE[kind](dict(archive))
    path.write_bytes(hashlib.sha256(content).digest() + content)
    assert scan_cache.load(folder) is None
