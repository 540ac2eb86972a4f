"""A small application behind a guarded uvicorn, and raw connections to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any, Literal

import uvicorn

from web.connection_limits import ConnectionLimits
from web.server import GatewayServer

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
Message = dict[str, Any]
Receive = Any
Send = Any
LARGE = 8 * 2**20


async def _content(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"gone"
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


async def _body(receive: Receive) -> int:
    return len(await _content(receive))


async def _answer(send: Send, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """The length of the body; and for some paths something else."""
    assert scope["type"] == "http"
    if scope["path"] == "/early":
        await _answer(send, b"early", 413)
    elif scope["path"] == "/large":
        await _body(receive)
        await _answer(send, b"x" * LARGE)
    elif scope["path"] == "/slow":
        await _body(receive)
        await asyncio.sleep(0.5)
        await _answer(send, b"slow")
    elif scope["path"] == "/echo":
        await _answer(send, await _content(receive))
    elif scope["path"] == "/headers":
        await _body(receive)
        names = [name.decode() for name, _ in scope["headers"]]
        await _answer(send, json.dumps(names).encode())
    else:
        await _answer(send, str(await _body(receive)).encode())


class Served:
    """The application behind a guarded uvicorn, in a thread.

    Attributes:
        port: where it listens on 127.0.0.1.
        protocol: of its connections.

    Args:
        loop: uvicorn's.
        context: to speak TLS.
        limits: those that are not as usual.
    """

    def __init__(
        self,
        loop: Literal["uvloop", "asyncio"] = "uvloop",
        context: ssl.SSLContext | None = None,
        **limits: float,
    ) -> None:
        bounds: dict[str, Any] = {
            "header_timeout_s": 30,
            "header_bytes": 4096,
            "per_client": 50,
            "total": 1000,
        }
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self._server = GatewayServer(
            uvicorn.Config(
                application,
                ssl_context_factory=(lambda *_: context) if context else None,
                loop=loop,
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=30,
            ),
            ConnectionLimits(**bounds | limits),
        )
        self.protocol = self._server.protocol
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}
        )

    def __enter__(self) -> Served:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.force_exit = True
        self.stop()
        self._listener.close()

    def ask_to_stop(self) -> None:
        """As SIGTERM does."""
        self._server.handle_exit(signal.SIGTERM, None)

    def stop(self) -> None:
        """As SIGTERM does, and wait for the end."""
        self.ask_to_stop()
        self._thread.join()

    @property
    def open(self) -> int:
        """Connections that count."""
        return self.protocol.open.clients.total()

    @property
    def working(self) -> int:
        """Requests in work."""
        return len(self._server.server_state.tasks)

    @contextlib.contextmanager
    def connect(self, source: str = "127.0.0.1") -> Iterator[Client]:
        address = ("127.0.0.1", self.port)
        with socket.create_connection(address, 20, source_address=(source, 0)) as connection:
            yield Client(connection)


class Client:
    """A raw connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def flood(self, piece: bytes) -> None:
        """Send 64 MiB of the same, which must not be taken."""
        try:
            for _ in range(64 * 2**20 // len(piece)):
                self.socket.sendall(piece)
        except ConnectionError:
            return
        raise AssertionError("all of it was taken")

    def trickle(self, piece: bytes, stop: threading.Event) -> None:
        """Send the same again and again, slowly."""
        with contextlib.suppress(OSError):
            while not stop.wait(0.05):
                self.socket.sendall(piece)

    def is_answered_within(self, seconds: float) -> bool:
        """Whether anything comes in this time; it stays to be read."""
        readable, _, _ = select.select([self.socket], [], [], seconds)
        return bool(readable)

    def received(self) -> bytes:
        """All that comes until the connection is closed."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while piece := self.socket.recv(65536):
                data += piece
        return data

    def answer(self, answers: int = 1) -> list[bytes]:
        """The bodies of that many answers."""
        data = b""
        while (bodies := _bodies(data)) is None or len(bodies) < answers:
            piece = self.socket.recv(65536)
            assert piece, data
            data += piece
        return bodies


def _bodies(data: bytes) -> list[bytes] | None:
    bodies = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        if not end:
            return None
        lengths = [
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ]
        if len(data) < lengths[0]:
            return None
        bodies.append(data[: lengths[0]])
        data = data[lengths[0] :]
    return bodies
