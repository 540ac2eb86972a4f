"""A server and a gateway that share a folder and a network, and nothing else, as containers do."""

from __future__ import annotations

import json
import signal
import socket
import stat
import time
from pathlib import Path

import psutil
import pytest
import requests

from serving.state import GATEWAY_FILES
from serving.status import Status, Workers, read_status
from tests.service import DEMO
from tests.serving.serve_process import ServeProcess, Start, assert_one_error
from tests.web.gateway_process import GatewayProcess

_PATIENCE_S = 30


def own_address() -> str:
    """An address of this machine that is not loopback's."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and not each.address.startswith("127."):
                return each.address
    pytest.skip("this machine has no address but loopback's")


def status_after(folder: Path, at: float) -> Status:
    """The first status that was looked at later."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        status = read_status(folder)
        if status is not None and status.at > at:
            return status
        assert time.monotonic() < deadline
        time.sleep(0.1)


def keys_of(process: ServeProcess) -> dict[str, str]:
    """TorchServe's three tokens."""
    (file,) = process.state.glob("servers/*/key_file.json")
    return {kind: each["key"] for kind, each in json.loads(file.read_text()).items()}


def test_a_gateway_elsewhere_serves_by_the_folder_alone(
    start: Start, tmp_path: Path, cat_photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = tmp_path / "gateway", own_address()
    # Another user's, without a record of any server.
    monkeypatch.setenv("CATBREEDS_STATE", str(tmp_path / "other-state"))
    hosts = ("--inference-host", "0.0.0.0", "--metrics-host", "0.0.0.0")  # noqa: S104
    process = start("--free-ports", "--no-web", "--gateway-folder", str(folder), *hosts)
    process.wait_until_ready()

    torchserve = process.url("predictions").replace("127.0.0.1", address)
    with GatewayProcess(tmp_path / "web", torchserve, server_folder=folder) as gateway:
        gateway.wait_until_ready()
        answer = gateway.classify(cat_photo)
        assert answer.json()["predictions"][0]["breed"] == "Siamese"
        (model,) = requests.get(f"{gateway.url}/api/models", timeout=10).json()["models"]
        assert (model["name"], model["default"]) == (DEMO, "0.1")

    # It holds what a gateway needs, for its group, and no token that changes a model.
    status_after(folder, 0)
    assert sorted(path.name for path in folder.iterdir()) == sorted(GATEWAY_FILES)
    keys = keys_of(process)
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert keys["management"] not in path.read_text()
        assert keys["API"] not in path.read_text()

    # Metrics are there as well, and nothing else is reached from outside.
    assert requests.get(
        process.url("metrics").replace("127.0.0.1", address) + "/metrics", timeout=10
    ).ok
    management = process.url("management").replace("127.0.0.1", address)
    with pytest.raises(requests.ConnectionError):
        requests.get(management, timeout=10)

    process.send(signal.SIGINT)
    assert process.wait() == 0
    assert list(folder.iterdir()) == []


def test_the_status_tells_workers_and_when_tokens_end(served: ServeProcess) -> None:
    (folder,) = served.state.glob("servers/*")
    status = status_after(folder, time.time())
    workers = status.workers[DEMO]["0.1"]
    assert workers.wanted == workers.ready > 0
    assert workers.memory_bytes > 50e6
    assert workers.waiting == 0
    assert {*status.token_expires} == {"inference", "management"}
    assert all(0 < ends - time.time() <= 3600 for ends in status.token_expires.values())


def test_a_status_is_written_again_after_a_worker_has_died(served: ServeProcess) -> None:
    (folder,) = served.state.glob("servers/*")
    workers = [each for each in served.family() if "model_service_worker" in str(each.cmdline())]
    for each in workers:
        each.kill()
    deadline = time.monotonic() + _PATIENCE_S
    seen: list[Workers] = []
    at = time.time()
    while not seen or seen[-1].ready < seen[-1].wanted or len(seen) < 2:
        assert time.monotonic() < deadline, seen
        status = status_after(folder, at)
        at = status.at
        seen.append(status.workers[DEMO]["0.1"])


def test_a_gateway_folder_that_cannot_be_written_is_named(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    process = start("--free-ports", "--no-web", "--gateway-folder", str(file / "folder"))
    assert process.wait() == 1
    assert_one_error(process.stderr(), "--gateway-folder", str(file / "folder"))


def test_one_container_with_both_shows_the_page_to_others(
    start: Start, cat_photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATBREEDS_WEB_PLAIN_HTTP", "true")
    address = own_address()
    process = start("--free-ports", "--web-host", "0.0.0.0")  # noqa: S104
    process.wait_until_ready()
    page = process.url("page").replace("127.0.0.1", address)
    answer = requests.post(f"{page}/api/classify", cat_photo, timeout=60)
    assert answer.json()["predictions"][0]["breed"] == "Siamese"
    with pytest.raises(requests.ConnectionError):
        requests.get(process.url("predictions").replace("127.0.0.1", address), timeout=10)
