"""The gateway and TorchServe: tokens that change, answers that do not come, clients that leave."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from serving import state
from tests.answers import problem_of
from tests.service import BATCHING, DEMO, Service
from tests.web.conftest import StartGateway
from tests.web.gateway_process import GatewayProcess
from tests.web.other_server import other_server


def test_tokens_are_renewed_under_load_without_a_failed_request(
    gateway: GatewayProcess, service: Service, cat_photo: bytes
) -> None:
    stop = threading.Event()
    statuses: list[int] = []

    def ask_on() -> None:
        while not stop.is_set():
            statuses.append(gateway.classify(cat_photo, top_k="1").status_code)

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask_on) for _ in range(4)]
        try:
            for _ in range(10):
                before = service.token()
                assert service.server.renew_tokens()
                assert service.token() != before
                answered = len(statuses)
                gateway.wait_for(lambda seen=answered: len(statuses) > seen + 8)
        finally:
            stop.set()
        for client in clients:
            client.result()
    assert set(statuses) == {200}
    assert len(statuses) > 80


def test_only_the_inference_token_is_read(
    start_gateway: StartGateway, service: Service, cat_photo: bytes, tmp_path: Path
) -> None:
    """With a state folder that has nothing else, all goes on; without it, nothing does."""
    given = tmp_path / "inference.header"
    gateway = start_gateway(token_file=given, models=DEMO, ready_every_s=0.2)
    response = gateway.classify(cat_photo)
    assert "no valid token" in problem_of(response, 503, "unavailable")
    state.write_private(given, (service.server.folder / "inference.header").read_text())
    gateway.wait_until_ready()
    assert gateway.classify(cat_photo).status_code == 200
    assert service.token() not in gateway.log()


def test_an_answer_that_does_not_come_is_given_up(start_gateway: StartGateway) -> None:
    with other_server(lambda _: None) as url:
        gateway = start_gateway(url, models=DEMO, answer_s=0.5, ready_every_s=60)
        problem_of(gateway.classify(b"a photo"), 504, "upstream-timeout")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oops\r\nx-request-id: ts-1\r\nContent-Length: 4\r\n\r\noops",
        b"HTTP/1.1 200 OK\r\nx-request-id: ts-1\r\nContent-Length: 4\r\n\r\noops",
        b"HTTP/1.1 302 Found\r\nx-request-id: ts-1\r\nLocation: /oops\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_the_handlers_is_a_502(
    start_gateway: StartGateway, answer: bytes
) -> None:
    with other_server(lambda _: answer) as url:
        gateway = start_gateway(url, models=DEMO, ready_every_s=60)
        response = gateway.classify(b"a photo")
        assert "oops" not in problem_of(response, 502, "bad-answer")
        assert response.headers["x-request-id"] == "ts-1"
        gateway.wait_for(lambda: "request_id=ts-1" in gateway.log())
        assert "oops" not in gateway.log()


def test_a_server_that_hangs_up_is_asked_once_more(
    start_gateway: StartGateway, service: Service, cat_photo: bytes
) -> None:
    """As after a restart: connections that were kept are dead, and a new one works."""
    asked: list[int] = []

    def hang_up_first(head: bytes) -> bytes | None:
        asked.append(len(head))
        if len(asked) == 1:
            return b""
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

    def respond(head: bytes) -> bytes | None:
        """The gateway's own looks at the model are not counted."""
        ours = f"content-length: {len(cat_photo)}\r\n".encode() in head.lower()
        return hang_up_first(head) if ours else None

    with other_server(respond) as url:
        gateway = start_gateway(url, models=DEMO, ready_every_s=60)
        assert gateway.classify(cat_photo).json() == {}
    assert len(asked) == 2


def test_a_client_that_leaves_takes_its_work_along(
    start_gateway: StartGateway, service: Service, cat_photo: bytes
) -> None:
    """`cat-breeds-batching` waits 3 s for a full batch; meanwhile others wait in the gateway."""
    gateway = start_gateway(models=BATCHING, ready_every_s=60, torchserve_photos=1)
    gateway.wait_until_ready()
    head = (
        f"POST /api/classify?model={BATCHING} HTTP/1.1\r\nHost: x\r\n"
        f"Content-Length: {len(cat_photo)}\r\n\r\n"
    )
    before = _answered(service)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(gateway.classify, cat_photo, model=BATCHING)
        gateway.wait_for(lambda: _in_work(gateway) == 1)
        leaving = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(5)]
        for client in leaving:
            client.sendall(head.encode() + cat_photo)
        gateway.wait_for(lambda: _in_work(gateway) == 6)
        for client in leaving:
            client.close()
        gateway.wait_for(lambda: _in_work(gateway) == 1)
        gateway.wait_for(lambda: gateway.log().count("status=499") == 5)
        last = pool.submit(gateway.classify, cat_photo, model=BATCHING)
        assert first.result().ok
        assert last.result().ok
    assert _answered(service) - before == 2
    assert _in_work(gateway) == 0


def _in_work(gateway: GatewayProcess) -> int:
    text = requests.get(f"{gateway.url}/metrics", timeout=10).text
    name = "catbreeds_web_photos_in_work "
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return round(float(line.split()[1]))


def _answered(service: Service) -> int:
    name = f'catbreeds_predicted_total{{ModelName="{BATCHING}"'
    lines = [line for line in service.metrics().splitlines() if line.startswith(name)]
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))
