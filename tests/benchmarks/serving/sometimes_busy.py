"""A server that answers 503 to every fifth request, in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from types import TracebackType
from typing import Self

from aiohttp import web

# Nothing is answered sooner.
DELAY_S = 0.01


class SometimesBusy:
    """Up while it is entered; counts what it answered and what it was sent."""

    def __init__(self) -> None:
        self.answered: Counter[int] = Counter()
        self.bodies: Counter[bytes] = Counter()
        self.port = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        runner = self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/photo", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        self.bodies[await request.read()] += 1
        status = 503 if sum(self.bodies.values()) % 5 == 0 else 200
        await asyncio.sleep(DELAY_S)
        self.answered[status] += 1
        return web.Response(status=status, text="whatever")
