"""A server of weights on loopback that can do all that real ones do to a download.

with WeightsServer() as server:
    server.files["/bit.npz"] = File(content)
    fetch_published(PublishedWeights("bit.npz", server.url + "/bit.npz"), folder)
    assert server.asked == [...]
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

Answer = Callable[["Request"], None]


@dataclass
class File:
    """What lies at a path.

    Attributes:
        content: of the file.
        break_after: one number an answer, taken from the front: so many bytes of the body are sent,
            then the connection is closed; when none is left, all are sent.
        ranges: whether a part can be asked for.
        headers: sent besides the usual ones, or in their place.
    """

    content: bytes
    break_after: list[int] = field(default_factory=list)
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """A strong one: of other content it is another."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'


class WeightsServer:
    """Answers GET on a free port of 127.0.0.1.

    Attributes:
        files: by path.
        answers: by path, what to do in place of sending a file; taken from the front, until none is
            left.
        asked: path and Range header of each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str | None]] = []
        owner = self

        class Handler(Request):
            server_of_weights = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Request(BaseHTTPRequestHandler):
    """One request, and ways to answer it."""

    server_of_weights: WeightsServer

    def do_GET(self) -> None:
        server = self.server_of_weights
        server.asked.append((self.path, self.headers.get("Range")))
        if server.answers.get(self.path):
            server.answers[self.path].pop(0)(self)
        elif self.path in server.files:
            self.send_file(server.files[self.path])
        else:
            self.send(404, b"no such object")

    def send_file(self, file: File) -> None:
        """As a server does that follows RFC 9110, section 14."""
        content, start = file.content, 0
        wanted = self.headers.get("Range")
        if wanted is None or not file.ranges or self.headers.get("If-Range") != file.tag:
            status, headers = 200, {}
        else:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            shown = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status, headers = 206, {"Content-Range": shown}
        sent = file.break_after.pop(0) if file.break_after else len(content)
        headers |= {"Content-Length": str(len(content) - start), "ETag": file.tag} | file.headers
        self.send(status, content[start : start + sent], headers)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Status, headers and body as they are, then the connection is closed."""
        headers = {"Content-Length": str(len(body))} | (headers or {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests look at `asked`."""
