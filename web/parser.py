"""httptools' parser of requests, stricter and plainer where that matters.

httptools leaves to its caller what `Upgrade` and CONNECT ask for: it takes such a request to end
with its headers, and what follows for another protocol's. uvicorn goes on with the same parser, so
that a body would become the next request, with whatever headers its author likes
(https://cwe.mitre.org/data/definitions/444.html).
"""

from __future__ import annotations

import re
from typing import Protocol

from httptools import HttpParserUpgrade, HttpRequestParser

# uri-host [ ":" port ] of https://www.rfc-editor.org/rfc/rfc9110#section-7.2
_HOST = re.compile(rb"(?:\[[0-9A-Za-z.:_~!$&'()*+,;=-]*\]|[\w.~!$&'()*+,;=%-]*)(?::[0-9]*)?")


class BadRequest(Exception):  # noqa: N818 - never leaves httptools
    """Ends the parsing of a request that has to be refused."""


class Requests(Protocol):
    """Takes what is found, as httptools would tell it."""

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


class PlainParser:
    """Takes the place of `httptools.HttpRequestParser` for requests that all stay HTTP/1.

    A server may ignore `Upgrade` (https://www.rfc-editor.org/rfc/rfc9110#section-7.8): with the
    first request, curl and Java's client offer HTTP/2 by it. Such a request is parsed a second
    time, without this header; `requests` then hears of its beginning twice.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = True
        # Of a request that asks for another protocol: first line and headers without the wish.
        self._head: bytes | None = None
        self._parser = self._new_parser()

    def _new_parser(self) -> HttpRequestParser:
        parser = HttpRequestParser(self)
        # As uvicorn does: what a client sends behind its last request is not an error of that one.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def feed_data(self, data: bytes) -> None:
        """Parse what was received.

        Raises:
            httptools.HttpParserError: it is no HTTP, CONNECT, or `Host` is not as it has to be.
        """
        while True:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                assert self._head is not None  # noqa: S101 - the headers were complete
                data = self._head + data[upgrade.args[0] :]
                # The old one would take nothing more after `Connection: close`.
                self._parser = self._new_parser()
            else:
                return

    def get_method(self) -> bytes:
        """Of the request whose headers are complete, as the next three."""
        return self._parser.get_method()

    def get_http_version(self) -> str:
        """Such as `1.1`."""
        return self._parser.get_http_version()

    def should_keep_alive(self) -> bool:
        """Whether the client wants to send more requests."""
        return self._parser.should_keep_alive()

    def should_upgrade(self) -> bool:
        """Never."""
        return False

    # What httptools finds

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._in_head = True
        self._head = None
        self._requests.on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._requests.on_url(url)
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._requests.on_header(name, value)
        if self._in_head:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        method, version = self.get_method(), self.get_http_version()
        self._check_host(version)
        if method == b"CONNECT":
            raise BadRequest
        if self._parser.should_upgrade():
            lines = [b"%s %s HTTP/%s" % (method, self._url, version.encode())]
            for name, value in self._headers:
                if name.lower() != b"upgrade":
                    lines.append(b"%s: %s" % (name, value))
            self._head = b"\r\n".join((*lines, b"", b""))
        else:
            self._requests.on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._requests.on_body(body)

    def on_message_complete(self) -> None:
        if self._head is None:
            self._requests.on_message_complete()

    def _check_host(self, version: str) -> None:
        """See https://www.rfc-editor.org/rfc/rfc9112#section-3.2."""
        hosts = [value for name, value in self._headers if name.lower() == b"host"]
        if len(hosts) > 1 or (not hosts and version not in ("0.9", "1.0")):
            raise BadRequest
        if hosts and not _HOST.fullmatch(hosts[0].strip()):
            raise BadRequest
