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
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.serving.errors import BenchError, check_needs
from benchmarks.serving.figures import Load
from benchmarks.serving.sides.child import environment

_MORE_S = 120


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
    check_needs(["locust"])
    asked = {
        "host": host,
        "path": path,
        "headers": dict(headers),
        "bodies": [str(body) for body in bodies],
        "rate": rate,
        "seconds": seconds,
        "seed": seed,
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            # Through standard input: arguments show in the list of processes, a token among them.
            ended = subprocess.run(
                (sys.executable, "-m", "benchmarks.serving.load.open_process"),
                input=json.dumps(asked),
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + _MORE_S,
                env=environment(Path(folder)),
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"locust did not end {_MORE_S} s after it should have") from None
    if ended.returncode != 0:
        raise BenchError(f"locust: {(ended.stderr or ended.stdout).strip()[-300:]}")
    return read_open(ended.stdout)


def read_open(output: str) -> Load:
    """What `open_process` printed.

    Raises:
        BenchError: it is not there.
    """
    try:
        line = next(line for line in output.splitlines() if line.startswith("{"))
        told = json.loads(line)
        seconds = float(told["seconds"])
        answers = [(int(status), float(ms), float(at)) for status, ms, at in told["answers"]]
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
    except (StopIteration, ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"locust printed what cannot be read ({error}): {output[-200:]}"
        ) from error
