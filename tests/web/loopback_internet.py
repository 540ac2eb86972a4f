"""An internet of two hosts on loopback, one that may be called and one that may not."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Self

import trustme

from tests.web.https_server import HttpsServer, ok, serving
from web.addresses import is_public
from web.fetch import Address, PhotoFetcher

NAME = "photos.example"
PHOTO = b"\xff\xd8 a photo"
MOST = 1000


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


class Internet:
    """Fetches as if 127.0.0.1 belonged to the internet, with a DNS of its own.

    Attributes:
        server: at 127.0.0.1, with a certificate for all that might lead to it.
        private: at the same port of 127.0.0.2.
        names: the answers of DNS for a name, one after the other; the last one stays.
        asked: the names that were looked up.
        public: addresses that may be called besides the public ones.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.authority = _authority()
        self.trusting = ssl.create_default_context()
        self.authority.configure_trust(self.trusting)
        self.names = {NAME: [["127.0.0.1"]], "other.example": [["127.0.0.1"]]}
        self.asked: list[str] = []
        self.public = {"127.0.0.1"}
        self.timeout_s = 10.0

    def __enter__(self) -> Self:
        names = (NAME, "other.example", "localhost", "127.0.0.1", "::1")
        public, private = (
            serving(self.authority, *names),
            serving(self.authority, NAME, "127.0.0.2"),
        )
        while True:
            with ExitStack() as stack:
                self.server = stack.enter_context(HttpsServer(public))
                # The port that is free on the one address may be somebody's on the other.
                with suppress(OSError):
                    other = HttpsServer(private, "127.0.0.2", self.server.port)
                    self.private = stack.enter_context(other)
                    self._stack = stack.pop_all()
                    break
        self.server.answers["/photo.jpg"] = ok(PHOTO)
        self.private.answers["/photo.jpg"] = self.private.answers["/"] = ok(b"internal")
        self.ports = [self.server.port]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def lookup(self, host: str) -> Sequence[str]:
        """What DNS answers this time."""
        self.asked.append(host)
        answers = self.names.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def permitted(self, address: Address) -> bool:
        """Whether the address is of this internet or of the real one."""
        return str(address) in self.public or is_public(address)

    def fetcher(self) -> PhotoFetcher:
        """With at most 1000 bytes and 3 redirects."""
        return PhotoFetcher(
            MOST,
            self.timeout_s,
            3,
            permitted=self.permitted,
            ssl_context=self.trusting,
            ports=self.ports,
            lookup=self.lookup,
        )

    def fetch(self, url: str) -> bytes:
        return asyncio.run(self._fetch(url))

    async def _fetch(self, url: str) -> bytes:
        try:
            return await self.fetcher().fetch(url)
        finally:
            # The event loop hears of the end of a connection only when it looks again.
            await asyncio.sleep(0.01)

    def at(self, path: str, host: str = NAME) -> str:
        """The address of a path of a host."""
        return f"https://{host}:{self.server.port}{path}"
