"""Markdown tables, and the head that every report has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.serving.figures import Cell, Load, Results, Spread
from benchmarks.serving.ratios import Ratio

Row = Sequence[object]


def table(head: Row, rows: Sequence[Row]) -> str:
    """A Markdown table with a line break behind it."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def head(title: str, machine: Mapping[str, Any], command: str, date: str) -> str:
    """What was run, when and on what."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    rows = [
        ("Date", date),
        ("Command", f"`{command}`"),
        ("Commit", machine["git"]),
        ("CPU", f"{machine['cpu']}, {machine['cores']} cores"),
        ("Instructions", " ".join(machine["flags"]) or "none of note"),
        ("Memory", f"{machine['memory_gb']} GB"),
        ("Kernel", machine["kernel"]),
        ("Load average before", machine["load_average"]),
        ("Versions", versions),
    ]
    return f"# {title}\n\n" + table(("", ""), rows) + "\n"


def shown(spread: Spread | None, digits: int = 1) -> str:
    """Median (least to most)."""
    if spread is None:
        return ""
    middle, least, most = (
        f"{value:.{digits}f}" for value in (spread.median, spread.least, spread.most)
    )
    return middle if least == most else f"{middle} ({least} to {most})"


def ratio_table(ratios: Sequence[Ratio]) -> str:
    """One line each."""
    rows = []
    for ratio in ratios:
        unit = "" if ratio.unit == "x" else f" {ratio.unit}"
        rows.append((ratio.name, f"{shown(ratio.spread, 2)}{unit}", len(ratio.rounds)))
    return table(("Ratio", "median (least to most)", "rounds"), rows)


def cell_table(results: Results, cell: Cell) -> str:
    """All sides under one load."""
    rows = []
    for side in results.sides():
        loads = list(results.rounds(side, cell).values())
        if not loads:
            continue
        rows.append(
            (
                side,
                _over(loads, lambda load: load.rate),
                _over(loads, lambda load: load.p50_ms),
                _over(loads, lambda load: load.p95_ms),
                _over(loads, lambda load: load.p99_ms),
                _errors(loads),
                _over(loads, lambda load: load.cpu_total_ms),
                _by_process(loads),
            )
        )
    rate = "answers/s" if cell.loop == "closed" else "in time/s"
    return table(
        (
            *("side", rate, "p50 ms", "p95 ms", "p99 ms", "errors"),
            *("CPU ms a photo", "of it"),
        ),
        rows,
    )


def side_table(results: Results) -> str:
    """Start-up and memory."""
    rows = []
    for side in results.sides():
        sizes = results.pss_mb[side]
        parts = ", ".join(f"{name} {mb:.0f}" for name, mb in sizes.items())
        total = f"{sum(sizes.values()):.0f}"
        rows.append((side, f"{results.startup_s[side]:.1f}", total, parts))
    return table(("side", "start-up s", "PSS MB", "of it"), rows)


def _over(loads: Sequence[Load], value: Callable[[Load], float]) -> str:
    return shown(Spread.of([value(load) for load in loads]))


def _errors(loads: Sequence[Load]) -> str:
    """How many of what status, all rounds together."""
    counts: dict[int, int] = {}
    for load in loads:
        for status, count in load.statuses.items():
            if status != 200:
                counts[status] = counts.get(status, 0) + count
    unanswered = sum(load.errors for load in loads) - sum(counts.values())
    told = [f"{count} x {status}" for status, count in sorted(counts.items())]
    return ", ".join([*told, *([f"{unanswered} unanswered"] if unanswered else [])]) or "0"


def _by_process(loads: Sequence[Load]) -> str:
    names = {name: None for load in loads for name in load.cpu_ms}
    middles = {
        name: Spread.of([load.cpu_ms.get(name, 0.0) for load in loads]).median for name in names
    }
    return ", ".join(f"{name} {ms:.1f}" for name, ms in middles.items() if ms >= 0.05)
