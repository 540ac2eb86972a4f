"""What an upload costs, and uploads that do not come as they should."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from tests.answers import JSON, b64, form, problem_of
from tests.service import BATCHING, DEMO
from tests.web.conftest import StartGateway
from tests.web.gateway_process import GatewayProcess

MIB = 2**20


def _peak(gateway: GatewayProcess) -> int:
    """Most bytes ever resident (VmHWM)."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def _reset_peak(gateway: GatewayProcess) -> int:
    Path(f"/proc/{gateway.process.pid}/clear_refs").write_text("5")
    return _peak(gateway)


@pytest.mark.parametrize(
    ("kind", "copies"), [("raw", 1), ("multipart", 1), ("base64", 3), ("KServe", 3)]
)
def test_a_large_upload_is_in_memory_once(
    start_gateway: StartGateway, kind: str, copies: int
) -> None:
    """Base64 is 4/3 as large, and stands there twice: as text and as the values in it."""
    gateway = start_gateway().wait_until_ready()
    photo = bytes(16 * MIB)
    bodies: dict[str, tuple[bytes | str, dict[str, str]]] = {
        "raw": (photo, {}),
        "multipart": form(("photo", ("photo", photo))),
        "base64": (json.dumps({"image": b64(photo)}), JSON),
        "KServe": (json.dumps({"instances": [{"b64": b64(photo)}]}), JSON),
    }
    body, headers = bodies[kind]
    # Once before: what the libraries take for good is not the upload's.
    gateway.classify(b"a small one")
    before = _reset_peak(gateway)
    path = f"/v1/models/{DEMO}:predict" if kind == "KServe" else "/api/classify"
    response = requests.post(gateway.url + path, body, headers=headers, timeout=60)
    assert response.status_code == 415  # TorchServe has seen all of it
    grown = _peak(gateway) - before
    assert grown < (copies + 0.75) * 16 * MIB, f"{grown / MIB:.0f} MiB"


def test_photos_are_never_on_disk(start_gateway: StartGateway, cat_photo: bytes) -> None:
    """Nor in a file that is deleted but open, as a spooled upload would be."""
    gateway = start_gateway().wait_until_ready()
    body, headers = form(("photo", ("photo", cat_photo + bytes(8 * MIB))), ("top_k", "1"))
    head = f"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: {headers['Content-Type']}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(head.encode() + body[:-10])
        gateway.wait_for(lambda: _upload_bytes(gateway) > 8 * MIB)
        opened = {Path(file.path).suffix for file in gateway.process.open_files()}
        written = [f for f in gateway.process.open_files() if "r" not in f.mode or "+" in f.mode]
        assert [f.path for f in written if not f.path.endswith("gateway.log")] == []
        assert ".tmp" not in opened
        deleted = [
            link
            for link in Path(f"/proc/{gateway.process.pid}/fd").iterdir()
            if link.is_symlink() and "(deleted)" in str(link.readlink())
        ]
        assert deleted == []
        client.sendall(body[-10:])
        assert client.recv(100).startswith(b"HTTP/1.1 ")


def _upload_bytes(gateway: GatewayProcess) -> float:
    return _metric(gateway, "upload_bytes")


def _metric(gateway: GatewayProcess, name: str) -> float:
    text = requests.get(f"{gateway.url}/metrics", timeout=10).text
    (line,) = [each for each in text.splitlines() if each.startswith(f"catbreeds_web_{name} ")]
    return float(line.split()[1])


def test_an_upload_that_stops_is_given_up(start_gateway: StartGateway) -> None:
    gateway = start_gateway(idle_s=0.3)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\nabc")
        answer = client.recv(65536)
        while b"}" not in answer:
            answer += client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"not complete within 0.3 s" in answer
    gateway.wait_for(lambda: _upload_bytes(gateway) == 0)


def test_an_upload_that_trickles_is_given_up(start_gateway: StartGateway) -> None:
    gateway = start_gateway(idle_s=5, upload_s=1)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n")
        client.settimeout(0.05)
        answer = b""
        deadline = time.monotonic() + 30
        while not answer and time.monotonic() < deadline:
            client.sendall(b"x")
            with suppress(TimeoutError):
                answer = client.recv(65536)
        client.settimeout(10)
        while b"}" not in answer:
            answer += client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"not complete within 1 s" in answer


def test_bytes_that_come_one_by_one_cost_no_more(start_gateway: StartGateway) -> None:
    """Each piece kept as an object of its own would take fifty times the memory."""
    gateway = start_gateway()
    gateway.classify(b"a small one")
    before = _reset_peak(gateway)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(
            b"POST /api/classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(200):
            client.sendall(b"1\r\nx\r\n" * 1000)
        client.sendall(b"0\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 ")
    assert _peak(gateway) - before < 12 * MIB


def test_more_at_once_than_there_is_room_for_gets_503_at_once(
    start_gateway: StartGateway, cat_photo: bytes
) -> None:
    """`cat-breeds-batching` keeps a photo for three seconds."""
    gateway = start_gateway(photos_at_once=2, models=f"{DEMO},{BATCHING}", ready_every_s=60)
    gateway.wait_until_ready()
    with ThreadPoolExecutor(2) as pool:
        kept = [pool.submit(gateway.classify, cat_photo, model=BATCHING) for _ in range(2)]
        gateway.wait_for(lambda: _metric(gateway, "photos_in_work") == 2)
        refused = gateway.classify(cat_photo)
        assert "2 photos" in problem_of(refused, 503, "overloaded")
        assert refused.headers["Retry-After"] == "1"
        assert [each.result().status_code for each in kept] == [200, 200]
    assert gateway.classify(cat_photo).ok


def test_uploads_that_are_on_their_way_leave_the_places_to_others(
    start_gateway: StartGateway, cat_photo: bytes
) -> None:
    gateway = start_gateway(photos_at_once=2, idle_s=30).wait_until_ready()
    uploading = b"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"
    with ExitStack() as waiting:
        for _ in range(5):
            client = socket.create_connection(("127.0.0.1", gateway.port))
            waiting.enter_context(client).sendall(uploading)
        gateway.wait_for(lambda: _upload_bytes(gateway) == 15)
        assert gateway.classify(cat_photo).ok


def test_json_of_countless_values_is_refused_before_it_is_parsed(
    start_gateway: StartGateway,
) -> None:
    """Python makes lists of it for seconds, in which nobody is served, at 26 times its size."""
    gateway = start_gateway()
    gateway.classify(b"a small one")
    before = _reset_peak(gateway)
    letters = b'{"image": "' + "é".encode() * (8 * MIB) + b'"}'
    for body in (b"[" + b"[]," * (5 * MIB) + b"[]]", letters):
        url = f"{gateway.url}/api/classify"
        response = requests.post(url, body, headers=JSON, timeout=30)
        problem_of(response, 400, "malformed-request")
    assert _peak(gateway) - before < 16 * MIB


def test_no_part_of_a_form_is_larger_than_a_photo_may_be(
    start_gateway: StartGateway, cat_photo: bytes
) -> None:
    """Whatever follows it in the same piece."""
    gateway = start_gateway(photo_bytes=1000)
    body, headers = form(("a", ("a", cat_photo)), ("b", ("b", b"x")))
    response = requests.post(f"{gateway.url}/api/classify", body, headers=headers, timeout=30)
    assert "1000 bytes" in problem_of(response, 413, "too-large")


def test_the_memory_of_all_uploads_is_bounded(start_gateway: StartGateway) -> None:
    gateway = start_gateway(upload_memory=3 * MIB)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gateway.classify(bytes(2 * MIB)), range(8)))
    kinds = {answer.json()["type"].rpartition(":")[2] for answer in answers}
    assert "overloaded" in kinds
    assert kinds <= {"overloaded", "unsupported-image"}
    assert gateway.classify(bytes(2 * MIB)).status_code == 415
    gateway.wait_for(lambda: _upload_bytes(gateway) == 0)


def test_the_rate_limit_is_the_clients(start_gateway: StartGateway, cat_photo: bytes) -> None:
    gateway = start_gateway(rate="3/hour", trusted_proxies="127.0.0.1").wait_until_ready()

    def ask(client: str) -> requests.Response:
        headers = {"X-Forwarded-For": client}
        url = f"{gateway.url}/api/classify"
        return requests.post(url, cat_photo, headers=headers, timeout=30)

    assert [ask("203.0.113.1").status_code for _ in range(3)] == [200] * 3
    refused = ask("203.0.113.1")
    assert "3 photos a hour" in problem_of(refused, 429, "rate-limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 3600
    assert ask("203.0.113.2").status_code == 200
