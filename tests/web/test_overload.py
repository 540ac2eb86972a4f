"""More photos than a model can do: the bounds and the pace by a clock of their own."""

from __future__ import annotations

import functools
import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import quantiles

import pytest

from web.admission import Admission, Ticket
from web.pace import Pace
from web.problems import Overloaded, RateLimited
from web.settings import Settings

_BATCH = 8
_SEED = 20261


@dataclass(frozen=True)
class Model:
    """A batch of n photos takes `batch_s + n * photo_s`, a fifth more or less, of one worker."""

    batch_s: float
    photo_s: float
    workers: int = 1

    @property
    def rate(self) -> float:
        """Photos a second, with full batches."""
        return self.workers * _BATCH / (self.batch_s + _BATCH * self.photo_s)


MODELS = {
    "340/s": Model(0.004, 0.0025),
    "60/s": Model(0.012, 0.0152),
    "60/s of two workers": Model(0.03, 0.0295, workers=2),
    "36/s": Model(0.045, 0.022),
    "5/s": Model(0.05, 0.194),
}


@dataclass
class Result:
    """Of one run: seconds of each answer, how many were refused, and at which times."""

    waits_s: list[float] = field(default_factory=list)
    refused_at: list[float] = field(default_factory=list)
    retry_after_s: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.waits_s) / self.seconds

    @property
    def p99_s(self) -> float:
        return quantiles(self.waits_s, n=100)[98]


class Simulation:
    """Photos that come by chance (Poisson), one a request, of clients in turn."""

    def __init__(self, model: Model, clients: int) -> None:
        self._model, self._clients = model, clients
        self._chance = random.Random(_SEED)
        self._pace = Pace()
        self._settings = Settings()
        self._admission = Admission(self._settings, self._pace)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._queue: deque[tuple[Ticket, float]] = deque()
        self._at_torchserve: deque[tuple[Ticket, float]] = deque()
        self._there = 0
        self._idle = model.workers
        self._number = 0
        self.now = 0.0
        self.result = Result()

    def run(self, *phases: tuple[float, int]) -> Result:
        """Load by the model's rate, and how many photos come at it."""
        for load, photos in phases:
            for _ in range(photos):
                self._until(self.now + self._chance.expovariate(load * self._model.rate))
                self._come()
        self.result.seconds = self.now
        return self.result

    def _until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            self.now, _, then = heapq.heappop(self._events)
            then()
        self.now = end

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, then))

    def _come(self) -> None:
        self._number += 1
        ticket = Ticket(self._admission, str(self._number % self._clients))
        try:
            ticket.take_places(1)
            ticket.join_queue(1)
        except (Overloaded, RateLimited) as refusal:
            ticket.give_back()
            self.result.refused_at.append(self.now)
            self.result.retry_after_s.append(refusal.retry_after_s)
            return
        self._queue.append((ticket, self.now))
        self._pass_on()

    def _pass_on(self) -> None:
        while self._queue and self._there < self._settings.torchserve_photos:
            self._there += 1
            self._pace.begin(self.now)
            self._at_torchserve.append(self._queue.popleft())
        # Each of them comes a little later, in time for the batch that begins then.
        self._after(0.0005, self._start)

    def _start(self) -> None:
        while self._idle and self._at_torchserve:
            self._idle -= 1
            size = min(_BATCH, len(self._at_torchserve))
            batch = [self._at_torchserve.popleft() for _ in range(size)]
            takes_s = self._model.batch_s + size * self._model.photo_s
            self._after(
                takes_s * self._chance.uniform(0.8, 1.2), functools.partial(self._end, batch)
            )

    def _end(self, batch: list[tuple[Ticket, float]]) -> None:
        self._idle += 1
        for ticket, since in batch:
            self._there -= 1
            self._pace.end(self.now, True)
            ticket.answered()
            ticket.give_back()
            self.result.waits_s.append(self.now - since)
        self._pass_on()


@pytest.mark.parametrize("clients", [1, 8, 1_000_000])
@pytest.mark.parametrize("name", MODELS)
def test_under_overload_all_that_can_be_done_is_done_and_in_time(name: str, clients: int) -> None:
    model = MODELS[name]
    usual = Simulation(model, clients).run((0.8, 4000))
    overload = Simulation(model, clients).run((1.2, 4000))
    assert overload.rate >= 0.9 * model.rate
    assert overload.p99_s <= 4 * usual.p99_s
    assert len(usual.refused_at) < 0.06 * 4000
    assert all(1 <= seconds <= 3 for seconds in overload.retry_after_s)


@pytest.mark.parametrize("load", [1.2, 10.0])
@pytest.mark.parametrize("name", MODELS)
def test_it_is_over_as_soon_as_the_load_falls(name: str, load: float) -> None:
    simulation = Simulation(MODELS[name], 1_000_000)
    result = simulation.run((load, 2000))
    assert result.refused_at
    fell = simulation.now
    result = simulation.run((0.5, 2000))
    drained_s = 13 / MODELS[name].rate + 1
    assert sum(at > fell + drained_s for at in result.refused_at) <= 10
