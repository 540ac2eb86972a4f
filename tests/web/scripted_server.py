"""A plain HTTP server on loopback that gives the answers it is told, one after the other."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Scripted:
    """One answer; `body` other than bytes becomes JSON, None closes the connection unanswered.

    Attributes:
        takes_s: until it comes; in that time no other one is given.
    """

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    takes_s: float = 0.0


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


class ScriptedServer:
    """Answers until the script is at its end, and then with the last answer again.

    Attributes:
        asked: method, path with query, and body of each request.
        answers: may be cleared, and no answer is given until it is set again.
    """

    def __init__(self, *script: Scripted) -> None:
        self._script = deque(script)
        self.asked: list[tuple[str, str, bytes]] = []
        self.answers = threading.Event()
        self.answers.set()
        self._one_at_a_time = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def go_on_with(self, *script: Scripted) -> None:
        """Another script, from now on."""
        self._script = deque(script)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                scripted.asked.append((self.command, self.path, body))
                scripted.answers.wait()
                with scripted._one_at_a_time:
                    answer = scripted._next()
                    time.sleep(answer.takes_s)
                if answer.body is None:
                    return
                content = answer.body
                if not isinstance(content, bytes):
                    content = json.dumps(content).encode()
                self.send_response(answer.status)
                for name, value in (answer.headers | {"Content-Length": len(content)}).items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET  # noqa: N815 - the base class's name

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _next(self) -> Scripted:
        return self._script.popleft() if len(self._script) > 1 else self._script[0]
