"""A server in TorchServe's place that says what TorchServe should not, or nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def other_server(respond: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """Says `respond(head)` to each request; None: says nothing; empty: hangs up."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            while piece := connection.recv(65536):
                said = respond(piece) if piece.startswith(b"POST ") else None
                if said == b"":
                    return  # hangs up
                connection.sendall(said or b"")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept()
