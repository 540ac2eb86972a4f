"""A closed-loop load: so many clients, each asking again as soon as it has its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

import aiohttp


@dataclass(frozen=True)
class Load:
    """What one run of it saw.

    Attributes:
        seconds: of the whole run.
        latencies_s: of each answer, sorted.
        statuses: HTTP status -> how often.
    """

    seconds: float
    latencies_s: tuple[float, ...]
    statuses: Mapping[int, int]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies_s) / self.seconds

    def percentile_s(self, percent: int) -> float:
        """The latency that so many percent of the answers stayed under."""
        return quantiles(self.latencies_s, n=100, method="inclusive")[percent - 1]


async def run_load(
    url: str, bodies: Sequence[bytes], clients: int, requests: int, headers: Mapping[str, str]
) -> Load:
    """POST each body in turn until there are `requests` answers.

    Args:
        clients: at once, each with a kept connection of its own.
    """
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    left = iter(range(requests))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def client() -> None:
            for number in left:
                begun = time.perf_counter()
                async with session.post(url, data=bodies[number % len(bodies)]) as response:
                    await response.read()
                latencies.append(time.perf_counter() - begun)
                statuses[response.status] = statuses.get(response.status, 0) + 1

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        seconds = time.perf_counter() - begun
    return Load(seconds, tuple(sorted(latencies)), statuses)
