"""A real HTTPS server on loopback that answers as a test says and counts who called."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import trustme

Answer = Callable[[ssl.SSLSocket], None]


class HttpsServer:
    """Answers each path with what `answers` has for it.

    Attributes:
        calls: connections taken, also those that never got as far as a request.
        requests: what came over them, up to the blank line.
    """

    def __init__(self, context: ssl.SSLContext, host: str = "127.0.0.1", port: int = 0) -> None:
        self._context = context
        self._listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self.answers: dict[str, Answer] = {}
        self.calls = 0
        self.requests: list[bytes] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed.set()
        # Closing alone would leave `accept` waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run)
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.calls += 1
                self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with (
            contextlib.suppress(OSError),
            connection,
            self._context.wrap_socket(connection, server_side=True) as secure,
        ):
            request = b""
            while b"\r\n\r\n" not in request:
                received = secure.recv(65536)
                if not received:
                    return
                request += received
            self.requests.append(request)
            self.answers[request.split(b" ")[1].decode()](secure)

    def trickle(self, head: bytes, piece: bytes) -> Answer:
        """Send `head`, then `piece` again and again until nobody listens."""

        def answer(secure: ssl.SSLSocket) -> None:
            secure.sendall(head)
            while not self._closed.is_set():
                secure.sendall(piece)
                time.sleep(0.02)

        return answer


def raw(data: bytes) -> Answer:
    return lambda secure: secure.sendall(data)


def ok(body: bytes, *headers: str) -> Answer:
    return status("200 OK", body, *headers)


def status(line: str, body: bytes = b"", *headers: str) -> Answer:
    head = "\r\n".join((f"HTTP/1.1 {line}", f"Content-Length: {len(body)}", *headers))
    return raw(head.encode("latin-1") + b"\r\n\r\n" + body)


def redirect(location: str, line: str = "302 Found") -> Answer:
    return status(line, b"", f"Location: {location}")


def serving(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """A server's context with a certificate for these names and addresses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context
