"""A client that sends slowly, endlessly or not at all keeps nobody else out."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.web.guarded_server import GET, LARGE, Client, Served

CLOSED = b""
LATE = b"HTTP/1.1 408 Request Timeout"
LARGE_FIELDS = b"HTTP/1.1 431 Request Header Fields Too Large"


@pytest.fixture(params=["uvloop", "asyncio"])
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., Served]]:
    with contextlib.ExitStack() as stack:
        yield lambda **limits: stack.enter_context(Served(request.param, **limits))


def status(answer: bytes) -> bytes:
    return answer.partition(b"\r\n")[0]


@contextlib.contextmanager
def trickling(client: Client, piece: bytes) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=client.trickle, args=(piece, stop))
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.parametrize(
    ("first", "piece", "answered"),
    [
        (b"", b"", CLOSED),
        (b"", b"\r\n", CLOSED),
        (b"G", b"", LATE),
        (b"GET /", b"a", LATE),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"", LATE),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n", LATE),
        (b"GET / HTTP/1.1\r\nX: ", b"y", LATE),
    ],
)
def test_headers_that_do_not_end_are_not_waited_for(
    first: bytes, piece: bytes, answered: bytes, serve: Callable[..., Served]
) -> None:
    served = serve(header_timeout_s=0.5)
    with served.connect() as client:
        client.send(first)
        with trickling(client, piece) if piece else contextlib.nullcontext():
            assert status(client.received()) == answered


@pytest.mark.parametrize("piece", [b"", b"\r\n", b"GET / HTTP/1.1\r\n", b"P"])
def test_nor_are_those_of_a_second_request(piece: bytes, serve: Callable[..., Served]) -> None:
    served = serve(header_timeout_s=0.5)
    with served.connect() as client:
        client.send(GET)
        assert client.answer() == [b"0"]
        client.send(GET)
        assert client.answer() == [b"0"]
        client.send(b"\r\n" + piece)
        assert status(client.received()) == (LATE if piece.strip() else CLOSED)


def test_a_slow_upload_outlasts_the_time_for_headers(serve: Callable[..., Served]) -> None:
    served = serve(header_timeout_s=0.2)
    with served.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            client.send(b"x")
            # Longer in all than headers may take.
            threading.Event().wait(0.03)
        assert client.answer() == [b"20"]


def test_an_upload_that_was_answered_before_its_end_must_end(
    serve: Callable[..., Served],
) -> None:
    served = serve(after_answer_s=0.5)
    with served.connect() as client:
        client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")
        assert client.answer() == [b"early"]
        with trickling(client, b"x"):
            assert client.received() == CLOSED


def test_an_upload_that_was_answered_before_its_end_may_end(serve: Callable[..., Served]) -> None:
    served = serve(header_timeout_s=0.5)
    with served.connect() as client:
        client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")
        assert client.answer() == [b"early"]
        client.send(b"x" * 999_999 + GET)
        assert client.answer() == [b"0"]
        client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nx")
        assert client.answer() == [b"early"]
        client.send(b"xx")
        # Nothing more: the time for headers runs, as no other one does.
        assert client.received() == CLOSED


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"GET /", b"a" * 100),
        (b"GET /?", b"a" * 65536),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 10),
        (b"GET / HTTP/1.1\r\n", b"X:\r\n" * 50_000),
        (b"GET / HTTP/1.1\r\nX: ", b"y" * 100),
        (b"GET / HTTP/1.1\r\nX: ", b"y" * 65536),
        (b"GET / HTTP/1.1\r\n", b"X" * 100),
        (GET + b"GET / HTTP/1.1\r\nX: ", b"y" * 100),
    ],
)
def test_endless_headers_are_refused(
    first: bytes, piece: bytes, serve: Callable[..., Served]
) -> None:
    served = serve()
    with served.connect() as client:
        client.send(first)
        if first.startswith(GET):
            assert client.answer() == [b"0"]
        client.flood(piece)
        # Where it was still sending, the system may drop the answer.
        assert status(client.received()) in (LARGE_FIELDS, CLOSED)


def test_headers_too_large_by_a_byte_are_told(serve: Callable[..., Served]) -> None:
    served = serve(header_bytes=1024)
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    room = 1024 - len(b"/") - len(b"Host: a\r\nX: \r\n")
    with served.connect() as client:
        client.send(head + b"y" * room + b"\r\n\r\n")
        assert client.answer() == [b"0"]
        client.send(head + b"y" * (room + 1) + b"\r\n\r\n")
        assert status(client.received()) == LARGE_FIELDS


@pytest.mark.parametrize(
    "flood", [b"X: y\r\n" * 10, b"X: " + b"y" * 100_000, b"Z" * 100], ids=["many", "long", "name"]
)
def test_endless_trailers_are_refused(flood: bytes, serve: Callable[..., Served]) -> None:
    served = serve()
    with served.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        client.flood(flood)
        assert client.received() == CLOSED


def test_endless_chunk_extensions_are_refused(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a=")
        client.flood(b"b" * 65536)
        assert client.received() == CLOSED


def test_trailers_do_not_become_headers(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.connect() as client:
        client.send(
            b"POST /headers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n" + GET
        )
        assert client.answer(2) == [b'["host", "transfer-encoding"]', b"0"]


def test_large_bodies_come_through(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % LARGE)
        client.send(b"x" * LARGE + GET)
        assert client.answer(2) == [str(LARGE).encode(), b"0"]
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"100000\r\n" + b"x" * 2**20 + b"\r\n0\r\n\r\n" + GET)
        assert client.answer(2) == [str(2**20).encode(), b"0"]


def test_requests_sent_at_once_are_answered_in_turn(serve: Callable[..., Served]) -> None:
    served = serve()
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
    with served.connect() as client:
        # Together more than the headers of one may be.
        padded = GET.replace(b"Host", b"X: " + b"y" * 500 + b"\r\nHost")
        client.send(b"".join(post % (n, b"x" * n) for n in range(16)) + padded * 16)
        assert client.answer(32) == [str(n).encode() for n in range(16)] + [b"0"] * 16


def test_thousands_of_requests_at_once_are_not_kept(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.connect() as client:
        client.flood(GET * 1000)
        client.received()
    with served.connect() as client:
        client.send(GET)
        assert client.answer() == [b"0"]


def test_one_client_has_so_many_connections_and_others_are_served(
    serve: Callable[..., Served],
) -> None:
    served = serve(per_client=20)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(served.connect("127.0.0.2")) for _ in range(300)]
        for client in idle[20:]:
            assert client.received() == CLOSED
        with served.connect() as other:
            other.send(GET)
            assert other.answer() == [b"0"]
        idle[0].send(GET)
        assert idle[0].answer() == [b"0"]
    # Nothing is remembered of who has gone.
    while served.protocol.open.clients:
        threading.Event().wait(0.02)
    with served.connect("127.0.0.2") as again:
        again.send(GET)
        assert again.answer() == [b"0"]


def test_behind_a_proxy_one_address_has_all_connections(serve: Callable[..., Served]) -> None:
    served = serve(per_client=0)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.connect()) for _ in range(100)]
        for client in clients:
            client.send(GET)
            assert client.answer() == [b"0"]


def test_all_clients_together_have_so_many_connections(serve: Callable[..., Served]) -> None:
    served = serve(total=2)
    with served.connect("127.0.0.2") as first, served.connect("127.0.0.3") as second:
        for client in (first, second):
            client.send(GET)
            assert client.answer() == [b"0"]
        with served.connect() as third:
            assert third.received() == CLOSED
        first.socket.close()
        second.send(GET)
        assert second.answer() == [b"0"]


def test_an_answer_that_nobody_reads_is_dropped(serve: Callable[..., Served]) -> None:
    served = serve(after_answer_s=0.5)
    with served.connect() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.socket.recv(4) == b"HTTP"
        while served.open:
            threading.Event().wait(0.05)


def test_a_websocket_is_answered_as_a_plain_request(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.connect() as client:
        client.send(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert client.answer() == [b"0"]


def test_what_is_not_http_is_refused(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.connect() as client:
        client.send(b"\x16\x03\x01\x02\x00")
        assert status(client.received()) == b"HTTP/1.1 400 Bad Request"


def test_an_answer_under_way_is_not_mixed_with_a_refusal(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.connect() as client:
        client.send(GET + b"\x16\x03\x01\x02\x00")
        assert b"400" not in client.received()
