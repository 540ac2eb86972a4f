"""A closed loop: so many clients, each asking again as soon as it has its answer. By wrk.

wrk, as it costs least: in C, with the requests ready in memory, it takes tens of microseconds of a
core for a request, where a Python client takes a millisecond of the cores that the server is
measured on. h2load and hey send one body; wrk's Lua sends several in turn and keeps each latency,
so that percentiles are exact and a status is counted as what it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.serving.errors import check_needs
from benchmarks.serving.figures import Load
from benchmarks.serving.load.generator import Told, run_generator

_SCRIPT = Path(__file__).with_name("post.lua")
_TIMEOUT_S = 60


def run_closed(
    url: str, requests: Sequence[Path], clients: int, seconds: float, least_s: float = 1.0
) -> Load:
    """Keep a server busy.

    Args:
        url: of the server; the path is in the requests.
        requests: files, each one whole HTTP request.
        clients: connections, each with one request at a time.
        seconds: rounded up to whole ones, which wrk takes.

    Raises:
        BenchError: no wrk, or it says nothing that can be read.
    """
    check_needs(["wrk"])
    whole = max(1, math.ceil(max(seconds, least_s)))
    command = (
        *("wrk", "--threads", str(clients), "--connections", str(clients)),
        *("--duration", f"{whole}s", "--timeout", f"{_TIMEOUT_S}s", "--script", str(_SCRIPT)),
        *(url, "--", *map(str, requests)),
    )
    return run_generator("wrk", command, whole, read_closed)


def read_closed(told: Told) -> Load:
    """What `post.lua` printed, below wrk's own lines.

    Raises:
        KeyError, TypeError, ValueError: it is not there.
    """
    (whole,) = told
    statuses = {int(status): count for status, count in whole["statuses"].items()}
    latencies = [us / 1000 for us in whole["latencies_us"]]
    return Load.of(latencies, statuses, whole["broken"], whole["seconds"])
