"""What is measured, and how the rounds are drawn together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

CLIENTS = (1, 2, 8, 32)
PERCENTS = (50, 80, 120)


@dataclass(frozen=True)
class Cell:
    """One kind of load.

    Attributes:
        loop: "closed": `level` clients, each asking again as soon as it has its answer; "open":
            requests come at `level` percent of what the closed loop of 8 got.
        photos: name of the set.
    """

    loop: str
    photos: str
    level: int

    def __str__(self) -> str:
        load = clients(self.level) if self.loop == "closed" else f"{self.level}% of capacity"
        return f"{self.loop} loop, {self.photos}, {load}"


@dataclass(frozen=True)
class Load:
    """What one generator saw in one run.

    Attributes:
        seconds: of the run.
        ok: photos that were answered with 200; of an open loop, within the run.
        rate: ok / seconds. Of an open loop this is the goodput.
        p50_ms, p95_ms, p99_ms: latency of the 200s, in an open loop from when the request was due.
        statuses: HTTP status -> how often.
        errors: requests that got no answer, or another than 200.
        cpu_ms: for each 200, name of the process -> milliseconds on a core; refusing others is
            included.
        offered: requests a second that were sent; 0 for a closed loop.
    """

    seconds: float
    ok: int
    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    statuses: Mapping[int, int]
    errors: int
    cpu_ms: Mapping[str, float] = field(default_factory=dict)
    offered: float = 0.0

    @classmethod
    def of(
        cls,
        latencies_ms: Sequence[float],
        statuses: Mapping[int, int],
        unanswered: int,
        seconds: float,
    ) -> Load:
        """From each single latency of a 200."""
        ok = statuses.get(200, 0)
        wrong = sum(count for status, count in statuses.items() if status != 200)
        p50, p95, p99 = (percentile(latencies_ms, percent) for percent in (50, 95, 99))
        return cls(seconds, ok, ok / seconds, p50, p95, p99, dict(statuses), wrong + unanswered)

    def with_photos(self, ok: int, rate: float, cpu_ms: Mapping[str, float]) -> Load:
        """The same with another count, rate and CPU time."""
        return replace(self, ok=ok, rate=rate, cpu_ms=cpu_ms)

    def with_offered(self, offered: float) -> Load:
        """The same with the rate at which requests were sent."""
        return replace(self, offered=offered)

    @property
    def cpu_total_ms(self) -> float:
        """Of a photo, all processes together."""
        return sum(self.cpu_ms.values())


@dataclass(frozen=True)
class Measured:
    """One side under one load in one round."""

    side: str
    cell: Cell
    round: int
    load: Load


@dataclass(frozen=True)
class Spread:
    """Median, least and most over the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Results:
    """All that was measured.

    Attributes:
        described: side -> what it is.
        startup_s: side -> seconds until it answered its first photo.
        pss_mb: side -> process name -> MB, medians over rounds, of all processes of that name.
        worker_pss_mb: what each further worker of ours adds; None where ours was not measured.
    """

    measured: Sequence[Measured]
    described: Mapping[str, str]
    startup_s: Mapping[str, float]
    pss_mb: Mapping[str, Mapping[str, float]]
    worker_pss_mb: float | None

    def sides(self) -> list[str]:
        """In the order of the report."""
        return list(self.described)

    def cells(self) -> list[Cell]:
        """In the order in which they were measured first."""
        return list(dict.fromkeys(each.cell for each in self.measured))

    def rounds(self, side: str, cell: Cell) -> dict[int, Load]:
        """Round -> what was seen."""
        return {
            each.round: each.load
            for each in self.measured
            if each.side == side and each.cell == cell
        }

    def spread(self, side: str, cell: Cell, figure: Callable[[Load], float]) -> Spread | None:
        """Over the rounds; None where it was not measured."""
        loads = self.rounds(side, cell)
        return Spread.of([figure(load) for load in loads.values()]) if loads else None


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that so many percent of them are not above; NaN of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    # Nearest rank: a value that really occurred.
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def clients(count: int) -> str:
    """As in "1 client" and "8 clients"."""
    return f"{count} client{'s' * (count != 1)}"
