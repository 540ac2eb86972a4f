"""An open loop: requests come when they come, whether those before are answered or not. By locust.

A closed loop slows down with its server and so never shows an overload. Users of a page do not wait
for each other: their requests are a Poisson process, whose latency counts from when the request was
due. locust, as its users are greenlets: thousands may be under way in one process, on connections
of their own, and its FastHttpUser costs half a millisecond of a core for a request. Its own way of
pacing (`constant_throughput`) lets each user wait for its answer, which is a closed loop as soon as
the server is late; hence one user that starts a greenlet for each request (`open_process`).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.serving.errors import check_needs
from benchmarks.serving.figures import Load
from benchmarks.serving.load.generator import Told, run_generator
from benchmarks.serving.sides.child import environment

T = TypeVar("T")


def run_open(
    host: str,
    path: str,
    headers: Mapping[str, str],
    bodies: Sequence[Path],
    rate: float,
    seconds: float,
    seed: int = 0,
) -> Load:
    """Send requests at random times, the same ones for the same seed.

    Args:
        host: http://HOST:PORT.
        bodies: files, each a request's body.
        rate: mean, requests a second.

    Raises:
        BenchError: no locust, or it says nothing that can be read.
    """
    asked = {
        "host": host,
        "path": path,
        "headers": dict(headers),
        "bodies": [str(body) for body in bodies],
        "rate": rate,
        "seconds": seconds,
        "seed": seed,
    }
    return run_locust("open_process", asked, seconds, read_open)


def run_locust(
    module: str,
    asked: Mapping[str, object],
    seconds: float,
    read: Callable[[Told], T],
    watch: Callable[[Told], None] = lambda told: None,
) -> T:
    """Run a module of this package that drives locust; see `run_generator`.

    Raises:
        BenchError: no locust, or it says nothing that can be read.
    """
    check_needs(["locust"])
    command = (sys.executable, "-m", f"{__package__}.{module}")
    with tempfile.TemporaryDirectory() as folder:
        return run_generator(
            "locust",
            command,
            seconds,
            read,
            asked=json.dumps(asked),
            environment=environment(Path(folder)),
            watch=watch,
        )


def read_open(told: Told) -> Load:
    """What `open_process` printed.

    Raises:
        KeyError, TypeError, ValueError: it is not there.
    """
    (whole,) = told
    seconds = float(whole["seconds"])
    answers = [(int(status), float(ms), float(at)) for status, ms, at in whole["answers"]]
    statuses: dict[int, int] = {}
    for status, _, _ in answers:
        statuses[status] = statuses.get(status, 0) + 1
    unanswered = statuses.pop(0, 0)
    latencies = [ms for status, ms, _ in answers if status == 200]
    load = Load.of(latencies, statuses, unanswered, seconds)
    # An answer that came after the end is one that the server was behind with.
    ok = sum(1 for status, _, at in answers if status == 200 and at <= seconds)
    load = load.with_photos(ok, ok / seconds, {})
    return load.with_offered(len(answers) / seconds)
