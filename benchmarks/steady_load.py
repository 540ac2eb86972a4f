"""Clients that go on asking while versions change, and what each was answered."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp


@dataclass(frozen=True)
class Answered:
    """One request: when it was sent and answered (seconds, monotonic), and what came."""

    sent: float
    answered: float
    status: int
    version: str
    body: str


class SteadyLoad:
    """Asks without a pause, from a thread, until it is left.

    Args:
        url: to POST to.
        bodies: sent in turn.
        clients: at once, each with a loopback address of its own.
    """

    def __init__(self, url: str, bodies: Sequence[bytes], clients: int) -> None:
        self._url, self._bodies, self._clients = url, bodies, clients
        self.answers: list[Answered] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(self._clients)))

    async def _client(self, number: int) -> None:
        connector = aiohttp.TCPConnector(local_addr=(f"127.0.0.{2 + number}", 0))
        async with aiohttp.ClientSession(connector=connector) as session:
            for turn in range(number, 1 << 30):
                if self._stop.is_set():
                    return
                self.answers.append(await self._ask(session, turn))

    async def _ask(self, session: aiohttp.ClientSession, turn: int) -> Answered:
        sent = time.monotonic()
        try:
            body_sent = self._bodies[turn % len(self._bodies)]
            async with session.post(self._url, data=body_sent) as response:
                body = await response.text()
                version = ""
                if response.status == 200:
                    version = str((await response.json())["version"])
                return Answered(sent, time.monotonic(), response.status, version, body[:500])
        except (aiohttp.ClientError, OSError) as error:
            return Answered(sent, time.monotonic(), 0, "", repr(error))
