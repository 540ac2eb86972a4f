"""Throughput and latency as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.serving.figures import Cell, Load, Results

_OURS, _OTHERS, _LIMIT = "#0b6e4f", "#8a9ba8", "#d9a441"


def draw(results: Results, title: str, path: Path) -> None:
    """Bars for each side: answers a second of 8 and of 32 clients, latency of a lone one.

    Bars are medians over the rounds, the lines on them go from the least to the most.
    """
    eight, crowd, lone = (Cell("closed", "small", clients) for clients in (8, 32, 1))
    panels: list[tuple[Cell, str, Callable[[Load], float]]] = [
        (eight, "answers a second, 8 clients", lambda load: load.rate),
        (crowd, "answers a second, 32 clients", lambda load: load.rate),
        (lone, "latency of 1 client, p50, ms", lambda load: load.p50_ms),
        (eight, "latency of 8 clients, p99, ms", lambda load: load.p99_ms),
    ]
    panels = [panel for panel in panels if panel[0] in results.cells()]
    rows = max(1, -(-len(panels) // 2))
    figure = Figure(figsize=(12, 0.6 + rows * (0.9 + 0.36 * len(results.sides()))))
    FigureCanvasAgg(figure)
    for number, (cell, label, value) in enumerate(panels):
        axes = figure.add_subplot(rows, 2, number + 1)
        _bars(axes, results, cell, label, value)
    figure.suptitle(f"Photos of 500 x 375 px. {title}")
    figure.tight_layout()
    figure.savefig(path, dpi=110, format="png")


def _bars(
    axes: Axes, results: Results, cell: Cell, label: str, value: Callable[[Load], float]
) -> None:
    names, middles, low, high = [], [], [], []
    for side in results.sides():
        spread = results.spread(side, cell, value)
        if spread is None or spread.median != spread.median:
            continue
        names.append(side)
        middles.append(spread.median)
        low.append(spread.median - spread.least)
        high.append(spread.most - spread.median)
    axes.barh(names, middles, xerr=[low, high], color=_colours(names), capsize=3)
    for name, middle, above in zip(names, middles, high, strict=True):
        digits = 0 if middle >= 100 else 1
        axes.annotate(
            f"{middle:.{digits}f}",
            (middle + above, name),
            textcoords="offset points",
            xytext=(4, 0),
            va="center",
        )
    axes.set_title(label, fontsize="medium", loc="left")
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.spines[["top", "right"]].set_visible(False)


def _colours(names: Sequence[str]) -> list[str]:
    ours = {"ours": _OURS, "gateway": _OURS, "limit": _LIMIT}
    return [ours.get(name, _OTHERS) for name in names]
