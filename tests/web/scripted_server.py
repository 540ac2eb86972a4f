"""A plain HTTP server on loopback that gives the answers it is told, one after the other."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Scripted:
    """One answer; `body` other than bytes becomes JSON, None closes the connection unanswered."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class ScriptedServer:
    """Answers until the script is at its end, and then with the last answer again.

    Attributes:
        asked: method, path with query, and body of each request.
    """

    def __init__(self, *script: Scripted) -> None:
        self._script = deque(script)
        self.asked: list[tuple[str, str, bytes]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                scripted.asked.append((self.command, self.path, body))
                answer = scripted._next()
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
