from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving import state
from serving.settings import SettingsError
from serving.state import RecordReader, ServerRecord, TokenError
from serving.traffic import Canary

URL = "http://127.0.0.1:8080"
RECORD = ServerRecord(URL, "m", "x", "g", 42, {"cat-breeds": ["1.0", "0.1"]}, "/archives")
WITH_CANARY = replace(RECORD, canaries={"cat-breeds": Canary("0.2", 0.25, 1753862400.5)})


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATBREEDS_STATE", str(tmp_path))
    monkeypatch.delenv("CATBREEDS_TOKEN", raising=False)


def write_keys(port: int) -> Path:
    folder = state.server_folder(port)
    folder.mkdir(parents=True)
    keys = {"inference": {"key": "abc"}, "management": {"key": "def"}}
    state.write_private(folder / "key_file.json", json.dumps(keys))
    return folder


def test_only_the_owner_can_read_the_folder_and_what_is_in_it() -> None:
    with state.claimed_server_folder(8080) as folder:
        state.write_record(folder, RECORD)
        state.write_private(folder / "inference.header", "secret")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_folder_is_one_server_s_and_gone_with_it() -> None:
    with state.claimed_server_folder(8080) as folder:
        state.write_record(folder, RECORD)
        with (
            pytest.raises(SettingsError, match="port 8080 is taken by another"),
            state.claimed_server_folder(8080),
        ):
            raise AssertionError("two servers have the same folder")
        # Who was refused has taken nothing away.
        assert state.read_record("http://127.0.0.1:8080") == RECORD
    assert not folder.exists()
    with state.claimed_server_folder(8080):
        assert folder.exists()


def test_the_token_of_a_local_server_is_found_by_its_address() -> None:
    write_keys(8080)
    assert state.find_inference_token("http://127.0.0.1:8080") == "abc"
    assert state.find_inference_token("http://localhost:8080/") == "abc"
    assert state.find_inference_token("http://127.0.0.1:8081") is None


@pytest.mark.parametrize(
    "url", ["http://example.org:8080", "http://127.0.0.1.example.org:8080", "http://a@b:8080"]
)
def test_the_token_never_goes_to_another_machine(url: str) -> None:
    write_keys(8080)
    assert state.find_inference_token(url) is None


def test_a_given_token_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    write_keys(8080)
    monkeypatch.setenv("CATBREEDS_TOKEN", "given")
    assert state.find_inference_token("http://example.org:8080") == "given"


def test_a_new_server_forgets_the_keys_of_the_old_one() -> None:
    folder = write_keys(8080)
    with (
        state.claimed_server_folder(8080),
        pytest.raises(TokenError, match=r"key_file\.json"),
    ):
        state.read_token(folder, "inference")


@pytest.mark.parametrize("content", ["", "{}", '{"inference": 1}', "[]"])
def test_a_damaged_key_file_is_a_clear_error(content: str) -> None:
    folder = write_keys(8080)
    (folder / "key_file.json").write_text(content)
    with pytest.raises(TokenError, match="holds no inference key"):
        state.read_token(folder, "inference")


def test_the_record_comes_back() -> None:
    folder = write_keys(8080)
    for record in (RECORD, WITH_CANARY):
        state.write_record(folder, record)
        assert state.read_record(URL) == record
    assert state.read_record("http://127.0.0.1:9090") is None


def test_a_record_without_canaries_has_none() -> None:
    state.write_record(write_keys(8080), RECORD)
    rewrite(lambda record: record.pop("canaries"))
    assert state.read_record(URL) == RECORD


def rewrite(change: Callable[[dict[str, Any]], object]) -> None:
    path = state.server_folder(8080) / "server.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def canary(record: dict[str, Any]) -> dict[str, Any]:
    of_model: dict[str, Any] = record["canaries"]["cat-breeds"]
    return of_model


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.pop("model_store"),
        lambda record: record.update(model_store=None),
        lambda record: record.update(pid="42"),
        lambda record: record.update(models=["cat-breeds"]),
        lambda record: record.update(models={"cat-breeds": "1.0"}),
        lambda record: record.update(models={"cat-breeds": [1.0]}),
        lambda record: record.update(canaries=[]),
        lambda record: record["canaries"].update(dogs=None),
        lambda record: canary(record).pop("until"),
        lambda record: canary(record).update(version=0.2),
        lambda record: canary(record).update(share=1.5),
        lambda record: canary(record).update(share=-0.1),
        lambda record: canary(record).update(share=float("nan")),
        lambda record: canary(record).update(share="0.5"),
        lambda record: canary(record).update(until=float("inf")),
        lambda record: canary(record).update(until=True),
    ],
)
def test_a_malformed_record_is_none(change: Callable[[dict[str, Any]], object]) -> None:
    state.write_record(write_keys(8080), WITH_CANARY)
    rewrite(change)
    assert state.read_record(URL) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"pid": 1', b"\xff\xfe", b"[" * 10_000])
def test_what_is_no_record_is_none(content: bytes) -> None:
    (write_keys(8080) / "server.json").write_bytes(content)
    assert state.read_record(URL) is None


def test_a_reader_follows_the_record() -> None:
    reader = RecordReader(URL)
    assert reader.read() is None
    with state.claimed_server_folder(8080) as folder:
        for record in (RECORD, WITH_CANARY, RECORD):
            state.write_record(folder, record)
            assert reader.read() == record
            assert reader.read() == record
        (folder / "server.json").write_text("{}")
        assert reader.read() is None
        state.write_record(folder, RECORD)
        assert reader.read() == RECORD
    assert reader.read() is None


@pytest.mark.parametrize("url", ["http://example.org:8080", "http://127.0.0.1:many", "http://[::1"])
def test_there_is_no_record_elsewhere(url: str) -> None:
    state.write_record(write_keys(8080), RECORD)
    assert state.read_record(url) is None
    assert RecordReader(url).read() is None
