"""A TCP forwarder that can be taken away and put back: a server that is down for a while."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit


class Forwarder:
    """Listens on a free port of loopback; down until `up` is called.

    Attributes:
        url: its address, the same each time that it is up.
    """

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self._target = (address.hostname or "", address.port or 0)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._address = free.getsockname()
        self.url = f"http://127.0.0.1:{self._address[1]}"
        self._listener: socket.socket | None = None
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> Self:
        """Take connections from now on."""
        self._listener = socket.create_server(self._address)
        self._run(self._accept, self._listener)
        return self

    def down(self) -> None:
        """Take none, and break those that there are."""
        if self._listener:
            # Closing alone does not wake the thread that waits in accept().
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._connections:
            connection.close()
        self._connections, self._threads = [], []

    def _run(self, what: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=what, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._target)
                self._connections += [client, server]
                self._run(_copy, client, server)
                self._run(_copy, server, client)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
