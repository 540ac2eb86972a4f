from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from serving import state
from serving.settings import SettingsError
from serving.state import ServerRecord, TokenError

RECORD = ServerRecord("http://127.0.0.1:8080", "m", "x", "g", 42, {"cat-breeds": ["1.0", "0.1"]})


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
    state.write_record(write_keys(8080), RECORD)
    assert state.read_record("http://127.0.0.1:8080") == RECORD
    assert state.read_record("http://127.0.0.1:9090") is None
