"""`catbreeds bench --soak N`: does memory grow with the requests?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.load import run_load
from benchmarks.serving.errors import BenchError
from benchmarks.serving.photos import Photo
from benchmarks.serving.processes import pss_mb
from benchmarks.serving.sides.ours import OursSide

WARM_UP = 500
CLIENTS = 8
_PART = 500


@dataclass(frozen=True)
class Soak:
    """PSS in MB by process name, each the sum of its processes.

    Attributes:
        before: after the warm-up.
        grown_percent: of the sum of all.
        statuses: HTTP status -> how often.
    """

    requests: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    grown_percent: float
    statuses: Mapping[int, int]
    rate: float


def soak(
    side: OursSide, photos: Sequence[Photo], requests: int, advance: Callable[[int], None]
) -> Soak:
    """Ask a running side so often, and look at its memory.

    Args:
        advance: is told how many more requests are done, the warm-up's too.

    Raises:
        BenchError: an answer was not 200.
    """
    bodies = [photo.data for photo in photos]
    statuses: dict[int, int] = {}
    seconds = 0.0

    def ask(count: int) -> None:
        nonlocal seconds
        target = side.target()
        headers, _ = target.body(b"")
        url = f"http://{target.host}:{target.port}{target.path}"
        load = asyncio.run(run_load(url, bodies, CLIENTS, count, headers))
        seconds += load.seconds
        for status, often in load.statuses.items():
            statuses[status] = statuses.get(status, 0) + often
        # Renews the token where it has become old.
        side.resume()
        advance(count)

    ask(WARM_UP)
    before = _sizes(side)
    statuses.clear()
    seconds = 0.0
    for done in range(0, requests, _PART):
        ask(min(_PART, requests - done))
    after = _sizes(side)
    if set(statuses) != {200}:
        raise BenchError(f"ours: answers {statuses}; 200 expected")
    one, other = sum(before.values()), sum(after.values())
    grown = 100 * (other - one) / one
    return Soak(requests, before, after, grown, statuses, requests / seconds)


def _sizes(side: OursSide) -> dict[str, float]:
    return {name: sum(mb) for name, mb in pss_mb(side.pids).items()}
