"""Where `catbreeds serve` cannot start, one line says why, and nothing is left behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from serving.settings import DEFAULT_CONFIG
from tests.serving.serve_process import CATBREEDS, Start, assert_one_error


def flipped(archive: Path, out: Path) -> Path:
    """A store whose archive has one bit changed, far inside of the weights."""
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    out.mkdir()
    (out / archive.name).write_bytes(content)
    return out


def test_a_broken_archive_is_refused_before_anything_starts(
    start: Start, demo_archive: Path, tmp_path: Path
) -> None:
    process = start("--free-ports", model_store=flipped(demo_archive, tmp_path / "store"))
    assert process.wait() == 1
    assert_one_error(process.stderr(), "broken archive", demo_archive.name, "weights.safetensors")
    assert "starting" not in process.stderr()
    assert process.leftovers() == []


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_is_refused(start: Start, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.mar").write_bytes(content)
    process = start("--free-ports", model_store=tmp_path)
    assert process.wait() == 1
    assert_one_error(process.stderr(), "broken archive", "bad.mar")


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_store_says_how_to_fill_it(start: Start, tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "empty").mkdir()
    process = start("--free-ports", model_store=tmp_path / "empty")
    assert process.wait() == 1
    assert_one_error(
        process.stderr(), str(tmp_path / "empty"), "holds no .mar", "catbreeds archive"
    )


def test_a_taken_port_of_the_page_is_named_before_anything_starts(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = start("--free-ports", "--web-port", str(port))
        assert process.wait() == 1
        assert_one_error(process.stderr(), f"port {port} (gateway) is taken", "--web-port")
        assert "starting" not in process.stderr()


def test_a_taken_port_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = min(other.getsockname()[1], 65530)
        process = start("--port", str(port))
        assert process.wait() == 1
        assert_one_error(process.stderr(), f"port {port} (inference) is taken", "--free-ports")


def test_no_java_says_where_one_comes_from(start: Start, tmp_path: Path) -> None:
    process = start("--free-ports", "--java-home", str(tmp_path))
    assert process.wait() == 1
    assert_one_error(process.stderr(), f"no Java at {tmp_path}/bin/java", "--java-home")
    assert process.leftovers() == []


def test_a_java_that_does_not_start_is_one_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "bin" / "java").chmod(0o755)
    process = start("--free-ports", "--java-home", str(tmp_path))
    assert process.wait() == 1
    assert_one_error(process.stderr(), "TorchServe ended by itself", "exit code 3")
    assert process.leftovers() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inference_address", "http://0.0.0.0:8080"),
        ("management_address", "http://[::1:8081"),
        ("metrics_address", "http://127.0.0.1:many"),
        ("grpc_inference_port", "many"),
        ("disable_token_authorization", "true"),
        ("token_expiration_min", "soon"),
        ("token_expiration_min", "0"),
        ("enable_model_api", "false"),
        ("job_queue_size", "many"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line(
    start: Start, tmp_path: Path, key: str, value: str
) -> None:
    config = tmp_path / "config.properties"
    default = DEFAULT_CONFIG.read_text()
    changed = re.sub(rf"^{key}=.*$", f"{key}={value}", default, flags=re.MULTILINE)
    assert changed != default
    config.write_text(changed)
    # --free-ports would put good addresses in the place of the bad ones.
    options = [] if "address" in key or "port" in key else ["--free-ports"]
    process = start("--config", str(config), *options)
    assert process.wait() == 1
    assert_one_error(process.stderr())
    assert process.leftovers() == []


def test_a_missing_config_is_named(start: Start) -> None:
    process = start("--free-ports", "--config", "/nonexistent.properties")
    assert process.wait() == 1
    assert_one_error(process.stderr(), "/nonexistent.properties")


def test_a_state_folder_that_cannot_be_made_is_one_line(demo_store: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    done = subprocess.run(
        (str(CATBREEDS), "serve", "--free-ports", "--model-store", str(demo_store)),
        env=os.environ | {"CATBREEDS_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert_one_error(done.stderr, str(tmp_path / "state"))
