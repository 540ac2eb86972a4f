"""Clients that mean ill, from two addresses, while somebody else wants an answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.web.conftest import StartGateway
from tests.web.gateway_process import GatewayProcess

_HEAD = b"POST /api/classify HTTP/1.1\r\nHost: x\r\n"


def _connect(gateway: GatewayProcess, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), 10, source_address=(source, 0))


def slow_headers(client: socket.socket, stop: threading.Event) -> None:
    client.sendall(_HEAD)
    while not stop.wait(0.2):
        client.sendall(b"X-Slow: 1\r\n")


def slow_body(client: socket.socket, stop: threading.Event) -> None:
    client.sendall(_HEAD + b"Content-Length: 16000000\r\n\r\n")
    while not stop.wait(0.2):
        client.sendall(b"x")


def many_headers(client: socket.socket, stop: threading.Event) -> None:
    client.sendall(_HEAD)
    while not stop.is_set():
        client.sendall(b"X-Many: 1234567890\r\n" * 500)


def endless_body(client: socket.socket, stop: threading.Event) -> None:
    client.sendall(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while not stop.wait(0.01):
        client.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")


def silence(_client: socket.socket, stop: threading.Event) -> None:
    stop.wait()


def garbage(client: socket.socket, stop: threading.Event) -> None:
    while not stop.is_set():
        client.sendall(b"\0\xff\r\n\r\n" * 100)


Attack = Callable[[socket.socket, threading.Event], None]


@contextlib.contextmanager
def attacked(gateway: GatewayProcess, attack: Attack, connections: int) -> Iterator[None]:
    stop = threading.Event()

    def run(source: str) -> None:
        while not stop.is_set():
            # It is cut off, and comes again.
            with contextlib.suppress(OSError), _connect(gateway, source) as client:
                attack(client, stop)
            stop.wait(0.05)

    sources = ("127.0.0.2", "127.0.0.4")
    threads = [threading.Thread(target=run, args=(sources[n % 2],)) for n in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("attack", "connections"),
    [
        (slow_headers, 150),
        (slow_body, 150),
        (silence, 150),
        (many_headers, 4),
        (endless_body, 4),
        (garbage, 4),
    ],
)
def test_others_are_still_served(
    start_gateway: StartGateway, cat_photo: bytes, attack: Attack, connections: int
) -> None:
    gateway = start_gateway(header_s=2, idle_s=2, upload_s=4, models="cat-breeds")
    gateway.wait_until_ready()
    with attacked(gateway, attack, connections):
        answers = [gateway.classify(cat_photo).status_code for _ in range(20)]
    assert answers == [200] * 20
    gateway.wait_until_ready()
    assert gateway.process.memory_info().rss < 600 * 2**20
    assert "Traceback" not in gateway.log()
