"""What the comparison comes to. Each ratio is taken within a round first, then the median."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.serving.figures import Cell, Load, Results, Spread

OTHERS = ("flask", "fastapi", "litserve", "torchserve-stock", "litserve-engine", "limit", "gateway")
_LONE = Cell("closed", "small", 1)
_EIGHT = Cell("closed", "small", 8)
_CROWD = Cell("closed", "small", 32)
_LONE_LARGE = Cell("closed", "large", 1)


@dataclass(frozen=True)
class Ratio:
    """One line of the result.

    Attributes:
        unit: "x" for a ratio, else what the number is in.
        rounds: its value in each round.
    """

    name: str
    unit: str
    rounds: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """Median, least and most."""
        return Spread.of(self.rounds)


@dataclass(frozen=True)
class _Figure:
    side: str
    cell: Cell
    value: Callable[[Load], float]


def ratios(results: Results) -> list[Ratio]:
    """All that the measured cells allow."""
    found: list[Ratio] = []

    def rate(load: Load) -> float:
        return load.rate

    def p50(load: Load) -> float:
        return load.p50_ms

    def p99(load: Load) -> float:
        return load.p99_ms

    def cpu(load: Load) -> float:
        return load.cpu_total_ms

    def add(name: str, over: _Figure, under: _Figure, difference: bool = False) -> None:
        values = _by_round(results, over, under, difference)
        if values:
            found.append(Ratio(name, "ms" if difference else "x", tuple(values)))

    for cell in (_EIGHT, _CROWD):
        for other in OTHERS:
            add(
                f"throughput: ours / {other}, {cell.level} clients",
                _Figure("ours", cell, rate),
                _Figure(other, cell, rate),
            )
    add("CPU a photo: ours / limit, 8 clients", *_pair(_EIGHT, cpu))
    add("latency of a lone photo: ours - limit, p50", *_pair(_LONE, p50), difference=True)
    for name, figure in (("CPU", cpu), ("latency p50", p50)):
        add(
            f"{name} of ours: 12 megapixels / 500 x 375, 1 client",
            _Figure("ours", _LONE_LARGE, figure),
            _Figure("ours", _LONE, figure),
        )
    over, calm = Cell("open", "small", 120), Cell("open", "small", 80)
    add(
        "gateway at 120%: goodput / capacity",
        _Figure("gateway", over, rate),
        _Figure("gateway", _EIGHT, rate),
    )
    add(
        "gateway, accepted requests: p99 at 120% / p99 at 80%",
        _Figure("gateway", over, p99),
        _Figure("gateway", calm, p99),
    )
    if results.worker_pss_mb is not None:
        found.append(Ratio("PSS of each further worker of ours", "MB", (results.worker_pss_mb,)))
    return found


def _pair(cell: Cell, value: Callable[[Load], float]) -> tuple[_Figure, _Figure]:
    return _Figure("ours", cell, value), _Figure("limit", cell, value)


def _by_round(results: Results, over: _Figure, under: _Figure, difference: bool) -> Sequence[float]:
    above, below = (results.rounds(each.side, each.cell) for each in (over, under))
    values = []
    for number in above.keys() & below.keys():
        one, other = over.value(above[number]), under.value(below[number])
        if difference:
            values.append(one - other)
        elif other > 0 and one == one:
            values.append(one / other)
    return values
