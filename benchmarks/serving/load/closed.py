"""A closed loop: so many clients, each asking again as soon as it has its answer. By wrk.

wrk, as it costs least: in C, with the requests ready in memory, it takes tens of microseconds of a
core for a request, where a Python client takes a millisecond of the cores that the server is
measured on. h2load and hey send one body; wrk's Lua sends several in turn and keeps each latency,
so that percentiles are exact and a status is counted as what it is.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.serving.errors import BenchError, check_needs
from benchmarks.serving.figures import Load

_SCRIPT = Path(__file__).with_name("post.lua")
_TIMEOUT_S = 60
_MORE_S = 120


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
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=whole + _MORE_S
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"wrk did not end {_MORE_S} s after it should have") from None
    if ended.returncode != 0:
        raise BenchError(f"wrk: {(ended.stderr or ended.stdout).strip()[-300:]}")
    return read_closed(ended.stdout)


def read_closed(output: str) -> Load:
    """What `post.lua` printed, below wrk's own lines.

    Raises:
        BenchError: it is not there.
    """
    try:
        line = next(line for line in output.splitlines() if line.startswith("{"))
        told = json.loads(line)
        statuses = {int(status): count for status, count in told["statuses"].items()}
        latencies = [us / 1000 for us in told["latencies_us"]]
        return Load.of(latencies, statuses, told["broken"], told["seconds"])
    except (StopIteration, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"wrk printed what cannot be read ({error}): {output[-200:]}") from error
