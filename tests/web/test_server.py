"""Connections with TLS, and what happens to all of them when the server stops."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import psutil
import pytest
import trustme

from tests.web.guarded_server import GET, LARGE, Client, Served
from tests.web.https_server import serving

StartServer = Callable[..., Served]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["uvloop", "asyncio"])
def serve(request: pytest.FixtureRequest) -> Iterator[StartServer]:
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Served(request.param, **options))


@pytest.fixture
def serve_tls(serve: StartServer, authority: trustme.CA) -> StartServer:
    return lambda **limits: serve(context=serving(authority, "127.0.0.1"), **limits)


@contextlib.contextmanager
def tls(served: Served, authority: trustme.CA, source: str = "127.0.0.1") -> Iterator[Client]:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        served.connect(source) as raw,
        context.wrap_socket(raw.socket, server_hostname="127.0.0.1") as secure,
    ):
        yield Client(secure)


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.02)


def listens(served: Served) -> bool:
    with contextlib.suppress(ConnectionError), served.connect():
        return True
    return False


def test_requests_come_through_tls(serve_tls: StartServer, authority: trustme.CA) -> None:
    served = serve_tls()
    with tls(served, authority) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % LARGE)
        client.send(b"x" * LARGE + GET)
        assert client.answer(2) == [str(LARGE).encode(), b"0"]
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert len(client.received()) > LARGE
    wait_until(lambda: not served.open)


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"\x16"])
def test_a_handshake_that_does_not_end_is_not_waited_for(
    first: bytes, serve_tls: StartServer, authority: trustme.CA
) -> None:
    served = serve_tls(header_timeout_s=0.5)
    with served.connect() as client:
        client.received()
    # The event loop's own are open by now.
    before = psutil.Process().num_fds()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.connect()) for _ in range(20)]
        for client in clients:
            client.send(first)
        for client in clients:
            client.received()
    wait_until(lambda: not served.open and psutil.Process().num_fds() <= before)
    with tls(served, authority) as client:
        client.send(GET)
        assert client.answer() == [b"0"]


def test_what_is_not_tls_is_closed(serve_tls: StartServer) -> None:
    served = serve_tls()
    with served.connect() as client:
        client.send(GET)
        assert b"HTTP" not in client.received()
    wait_until(lambda: not served.open)


def test_a_client_that_leaves_in_the_handshake_is_forgotten(serve_tls: StartServer) -> None:
    served = serve_tls()
    with served.connect():
        wait_until(lambda: served.open == 1)
    wait_until(lambda: not served.open)


def test_connections_count_before_their_handshake(
    serve_tls: StartServer, authority: trustme.CA
) -> None:
    served = serve_tls(per_client=5, total=8)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(served.connect("127.0.0.2")) for _ in range(20)]
        for client in silent[5:]:
            assert client.received() == b""
        with tls(served, authority) as other:
            other.send(GET)
            assert other.answer() == [b"0"]
            more = [stack.enter_context(served.connect("127.0.0.3")) for _ in range(3)]
            assert more[2].received() == b""
    wait_until(lambda: not served.open)


def test_a_client_that_does_not_agree_to_the_end_of_tls_is_left(
    serve_tls: StartServer, authority: trustme.CA
) -> None:
    served = serve_tls()
    with tls(served, authority) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in client.socket.recv(4096)
        # It reads no more, and so never sees that it should.
        wait_until(lambda: not served.open)


def test_an_answer_that_nobody_reads_is_dropped_below_tls(
    serve_tls: StartServer, authority: trustme.CA
) -> None:
    served = serve_tls(after_answer_s=0.5)
    with tls(served, authority) as client:
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.socket.recv(4) == b"HTTP"
        wait_until(lambda: not served.open)


def test_idle_connections_end_when_the_server_stops(
    serve_tls: StartServer, authority: trustme.CA
) -> None:
    served = serve_tls()
    with tls(served, authority) as idle, tls(served, authority), served.connect():
        idle.send(GET)
        assert idle.answer() == [b"0"]
        wait_until(lambda: served.open == 3)
        served.stop()
        assert not served.open


def test_idle_plain_connections_end_when_the_server_stops(serve: StartServer) -> None:
    served = serve()
    with served.connect() as idle, served.connect() as silent, served.connect() as half:
        idle.send(GET)
        assert idle.answer() == [b"0"]
        half.send(GET[:10])
        wait_until(lambda: served.open == 3)
        served.stop()
        for client in (idle, silent, half):
            assert client.received() == b""


@pytest.mark.parametrize("secure", [False, True])
def test_requests_in_work_are_answered_when_the_server_stops(
    secure: bool, serve: StartServer, serve_tls: StartServer, authority: trustme.CA
) -> None:
    served = serve_tls() if secure else serve()
    with tls(served, authority) if secure else served.connect() as client:
        client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
        wait_until(lambda: served.working == 1)
        served.ask_to_stop()
        wait_until(lambda: not listens(served))
        client.send(b"x")
        answer = client.received()
        assert b"connection: close" in answer
        assert answer.endswith(b"slow")
        # Where it does not agree to the end of TLS, as this one, it is left.
        served.stop()


def test_a_large_answer_is_read_to_its_end_when_the_server_stops(
    serve_tls: StartServer, authority: trustme.CA
) -> None:
    served = serve_tls()
    with tls(served, authority) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.socket.recv(4) == b"HTTP"
        served.ask_to_stop()
        # Longer than a client has that has taken everything.
        threading.Event().wait(3)
        assert len(client.received()) > LARGE
        served.stop()
