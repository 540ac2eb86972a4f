"""The history keeps what was appended, whoever wrote at once and whatever was torn."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.history import HISTORY_FILE, Event, append, now, read

DEPLOYED = Event(
    time="2026-01-02T03:04:05.678Z",
    action="deploy",
    model="cat-breeds",
    version="0.2",
    step="switch",
    outcome="ok",
    sha256="ab" * 32,
    details={"seconds": 0.25},
)
_WRITES = """
import sys
from dataclasses import replace
from pathlib import Path
from serving.history import Event, append
for number in range(int(sys.argv[3])):
    append(Path(sys.argv[1]), Event("t", "deploy", "m", sys.argv[2], str(number), "ok", "x" * 5000))
"""

# With lone surrogates: that is how Python has file names that are not UTF-8.
texts = st.text(
    st.one_of(st.characters(), st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
events = st.builds(
    Event,
    time=texts,
    action=st.sampled_from(["deploy", "rollback", "retire", "recover"]),
    model=texts,
    version=texts,
    step=texts,
    outcome=st.sampled_from(["begun", "ok", "refused", "failed", "undone"]),
    reason=texts,
    sha256=st.none() | texts,
    details=st.dictionaries(texts, json_values, max_size=3),
)


@given(st.lists(events, max_size=4))
def test_what_is_appended_is_read(written: list[Event]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for event in written:
            append(Path(folder), event)
        assert read(Path(folder)) == written


def test_each_line_is_an_object_for_other_programs(tmp_path: Path) -> None:
    append(tmp_path, replace(DEPLOYED, reason="two\nlines\u2028or three"))
    (line,) = (tmp_path / HISTORY_FILE).read_text().splitlines()
    assert json.loads(line)["reason"] == "two\nlines\u2028or three"
    assert stat.S_IMODE((tmp_path / HISTORY_FILE).stat().st_mode) == 0o644


def test_no_history_yet(tmp_path: Path) -> None:
    assert read(tmp_path) == []


def test_only_of_one_model(tmp_path: Path) -> None:
    other = replace(DEPLOYED, model="dogs")
    for event in (DEPLOYED, other, DEPLOYED):
        append(tmp_path, event)
    assert read(tmp_path, "dogs") == [other]
    assert read(tmp_path, "cat-breeds") == [DEPLOYED, DEPLOYED]


@pytest.mark.parametrize("torn", [1, 40, -2])
def test_a_line_torn_by_a_crash_costs_no_other(tmp_path: Path, torn: int) -> None:
    append(tmp_path, DEPLOYED)
    path = tmp_path / HISTORY_FILE
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:torn])
    assert read(tmp_path) == [DEPLOYED]
    later = replace(DEPLOYED, version="0.3")
    append(tmp_path, later)
    assert read(tmp_path) == [DEPLOYED, later]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[1]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"time": "2026"}',
        json.dumps(vars(DEPLOYED) | {"action": "destroy"}).encode(),
        json.dumps(vars(DEPLOYED) | {"version": 2}).encode(),
    ],
)
def test_what_is_no_event_is_left_out(tmp_path: Path, line: bytes) -> None:
    append(tmp_path, DEPLOYED)
    with (tmp_path / HISTORY_FILE).open("ab") as file:
        file.write(line + b"\n")
    append(tmp_path, DEPLOYED)
    assert read(tmp_path) == [DEPLOYED, DEPLOYED]


def test_two_processes_append_at_once(tmp_path: Path) -> None:
    count = 200
    writing = [
        subprocess.Popen((sys.executable, "-c", _WRITES, str(tmp_path), name, str(count)))
        for name in ("one", "two")
    ]
    assert [process.wait() for process in writing] == [0, 0]
    found = read(tmp_path)
    for name in ("one", "two"):
        steps = [event.step for event in found if event.version == name]
        assert steps == [str(number) for number in range(count)]
    assert len((tmp_path / HISTORY_FILE).read_bytes().splitlines()) == 2 * count


def test_details_that_json_does_not_have(tmp_path: Path) -> None:
    append(tmp_path, DEPLOYED)
    with pytest.raises(ValueError, match="JSON"):
        append(tmp_path, replace(DEPLOYED, details={"seconds": float("nan")}))
    assert read(tmp_path) == [DEPLOYED]


def test_the_time_is_utc_with_milliseconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now())
