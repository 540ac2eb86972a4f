"""Run by `open.py`: one locust user whose requests come at random times, in greenlets of their own.

Reads one JSON object, prints one: {"seconds", "answers": [[status, ms since it was due, seconds
since the beginning], ...]}; status 0: no answer.
"""

from __future__ import annotations

# isort: off
from locust import FastHttpUser, task  # first: it patches what waits
from locust.env import Environment

# isort: on
import json
import random
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import gevent
from gevent.event import Event
from locust.contrib.fasthttp import FastResponse, LocustUserAgent
from locust.exception import StopUser

# Where there was no answer at all, an exception or a response with status 0.
Got = FastResponse | Exception
# Is told of one request: when it was due and when it ended, in seconds since the beginning.
Note = Callable[[float, float, Got], None]

_ANSWER_S = 60.0
# Of an answer with another status locust makes a text, and fails where that is not UTF-8.
LocustUserAgent.valid_response_codes = frozenset(range(100, 600))


def main() -> None:
    """Read, send, print."""
    asked = json.load(sys.stdin)
    answers: list[tuple[int, float, float]] = []

    def note(due: float, ended: float, got: Got) -> None:
        answers.append((status_of(got), 1000 * (ended - due), ended))

    send(asked, due_times(asked), note)
    print(json.dumps({"seconds": asked["seconds"], "answers": answers}))


def send(asked: dict[str, Any], due: Sequence[float], note: Note) -> None:
    """Send a request at each of these times; returns when all have ended.

    Args:
        asked: as `open.run_open` gives it; `ca`, where it is there, is a PEM file of those whose
            certificates are trusted.
    """
    ended = Event()
    crowd = _user(asked, due, note, ended)
    runner = Environment(user_classes=[crowd], host=asked["host"]).create_local_runner()
    runner.start(1, spawn_rate=1)
    ended.wait()
    runner.quit()


def status_of(got: Got) -> int:
    """HTTP status; 0 without an answer."""
    return 0 if isinstance(got, Exception) else got.status_code or 0


def due_times(asked: dict[str, Any]) -> list[float]:
    """When requests are due, seconds: a Poisson process."""
    rate = asked["rate"]
    source = random.Random(asked["seed"])  # noqa: S311 - the same for every side, not a secret
    times, at = [], source.expovariate(rate)
    while at < asked["seconds"]:
        times.append(at)
        at += source.expovariate(rate)
    return times or [0.0]


def _user(
    asked: dict[str, Any], due: Sequence[float], note: Note, ended: Event
) -> type[FastHttpUser]:
    bodies = [Path(body).read_bytes() for body in asked["bodies"]]

    def trusting(cafile: str | None = None) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=asked.get("ca", cafile))

    class Crowd(FastHttpUser):
        # Connections; none of them is to wait for another.
        concurrency = len(due) + 1
        network_timeout = connection_timeout = _ANSWER_S
        # A status is counted as what it is.
        max_redirects = 0
        insecure = False
        ssl_context_factory = staticmethod(trusting)

        @task
        def come(self) -> None:
            began = time.perf_counter()
            under_way = []
            try:
                for number, at in enumerate(due):
                    gevent.sleep(max(0.0, began + at - time.perf_counter()))
                    body = bodies[number % len(bodies)]
                    under_way.append(gevent.spawn(self.ask, began, at, body))
                gevent.joinall(under_way)
            finally:
                ended.set()
            raise StopUser

        def ask(self, began: float, at: float, body: bytes) -> None:
            got: Got
            try:
                with self.client.post(
                    asked["path"],
                    data=cast(Any, body),
                    headers=asked["headers"],
                    catch_response=True,
                ) as response:
                    # What went wrong is counted here, not logged there.
                    response.success()
                    got = response
            # Whatever it is, the request has had no answer, and must not be missing in the count.
            except Exception as error:
                got = error
            note(at, time.perf_counter() - began, got)

    return Crowd


if __name__ == "__main__":
    main()
