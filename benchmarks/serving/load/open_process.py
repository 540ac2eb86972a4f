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
import sys
import time
from pathlib import Path
from typing import Any, cast

import gevent
from gevent.event import Event
from locust.exception import StopUser

_ANSWER_S = 60.0


def main() -> None:
    """Read, send, print."""
    asked = json.load(sys.stdin)
    answers: list[tuple[int, float, float]] = []
    ended = Event()
    crowd = _user(asked, answers, ended)
    runner = Environment(user_classes=[crowd], host=asked["host"]).create_local_runner()
    runner.start(1, spawn_rate=1)
    ended.wait()
    runner.quit()
    print(json.dumps({"seconds": asked["seconds"], "answers": answers}))


def _user(
    asked: dict[str, Any], answers: list[tuple[int, float, float]], ended: Event
) -> type[FastHttpUser]:
    bodies = [Path(body).read_bytes() for body in asked["bodies"]]
    due = _times(asked["rate"], asked["seconds"], asked["seed"])

    class Crowd(FastHttpUser):
        # Connections; none of them is to wait for another.
        concurrency = len(due) + 1
        network_timeout = connection_timeout = _ANSWER_S

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
            # Not 200 is counted here, not an exception there.
            with self.client.post(
                asked["path"], data=cast(Any, body), headers=asked["headers"], catch_response=True
            ) as response:
                response.success()
                status = response.status_code
            now = time.perf_counter() - began
            answers.append((status or 0, 1000 * (now - at), now))

    return Crowd


def _times(rate: float, seconds: float, seed: int) -> list[float]:
    """When requests are due, seconds: a Poisson process."""
    source = random.Random(seed)  # noqa: S311 - the same for every side, not a secret
    times, at = [], source.expovariate(rate)
    while at < seconds:
        times.append(at)
        at += source.expovariate(rate)
    return times or [0.0]


if __name__ == "__main__":
    main()
