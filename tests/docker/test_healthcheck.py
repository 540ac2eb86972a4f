"""The containers' health check, run as a container runs it, against the real services."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import Service
from tests.web.gateway_process import GatewayProcess

SCRIPT = Path(__file__).parent.parent.parent / "docker" / "healthcheck.py"


def check(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # Isolated: it may import nothing of the project.
        [sys.executable, "-I", str(SCRIPT), *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def test_an_answer_is_healthy(service: Service, gateway: GatewayProcess, tmp_path: Path) -> None:
    gateway.wait_until_ready()
    done = check("web", CATBREEDS_WEB_PORT=str(gateway.port))
    assert (done.returncode, done.stderr) == (0, "")
    # As in a container, where it is the only server.
    (tmp_path / "servers").mkdir()
    (tmp_path / "servers" / "8080").symlink_to(service.server.folder)
    done = check("torchserve", CATBREEDS_STATE=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_model_that_is_not_there_is_not_healthy(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "servers" / "8080"
    folder.mkdir(parents=True)
    for path in service.server.folder.iterdir():
        (folder / path.name).symlink_to(path)
    record = json.loads((folder / "server.json").read_text())
    (folder / "server.json").unlink()
    for models, says in (({"no-such": ["1.0"]}, "no-such: 404"), ({}, "no model is served")):
        (folder / "server.json").write_text(json.dumps(record | {"models": models}))
        done = check("torchserve", CATBREEDS_STATE=str(tmp_path))
        assert done.returncode == 1
        assert says in done.stderr


@pytest.mark.parametrize("which", ["web", "torchserve"])
def test_nobody_there_is_not(which: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = check(which, CATBREEDS_WEB_PORT=str(port), CATBREEDS_STATE=str(tmp_path))
    assert done.returncode == 1
    assert "Error" in done.stderr


def test_other_words_are_refused() -> None:
    assert "torchserve|web" in check("both").stderr
    assert check().returncode == 1
