"""The files that a run leaves: JSON with every round, Markdown with tables, a plot."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.serving.figures import Results
from benchmarks.serving.plot import draw
from benchmarks.serving.ratios import Ratio
from benchmarks.serving.tables import cell_table, head, ratio_table, side_table, table

_HOW = """All sides serve the same weights and were up at once; while one was measured, the others'
processes were suspended. Each number is the median over the rounds, the least and the most
behind it. A ratio is taken within each round first. Closed loop: wrk, so many clients, each asking
again as soon as it has its answer; open loop: locust, Poisson arrivals at a percentage of what the
side itself got in the closed loop of 8 clients in that round, latency from when a request was due;
what came after the end does not count as "in time". The generators share the cores with the sides.
A client of the closed loop that is refused asks again at once. CPU is that of all processes of a
side for each photo answered with 200. PSS counts what processes share in equal parts, and all sides
share PyTorch's libraries here: alone, each takes more.
"""


def write_comparison(
    out: Path,
    results: Results,
    ratios: Sequence[Ratio],
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
    command: str,
) -> list[Path]:
    """Write all three files, each whole or not at all.

    Args:
        settings: rounds, seconds, photos and whatever else was chosen; goes into the JSON.

    Returns:
        Their paths.
    """
    stem = free_stem(out, machine)
    date = now()
    described = {
        "date": date,
        "command": command,
        "machine": machine,
        "settings": settings,
        "sides": {
            side: {
                "what": results.described[side],
                "startup_s": results.startup_s[side],
                "pss_mb": results.pss_mb[side],
            }
            for side in results.sides()
        },
        "ratios": [
            {**asdict(ratio), **asdict(ratio.spread), "rounds": ratio.rounds} for ratio in ratios
        ],
        "measured": [asdict(each) for each in results.measured],
    }
    picture = stem.with_suffix(".png")
    text = _markdown(results, ratios, machine, settings, command, date, picture.name)
    write_json(stem.with_suffix(".json"), described)
    write_whole(stem.with_suffix(".md"), lambda path: path.write_text(text))
    title = f"{machine['cpu']}, {machine['cores']} cores, {date[:10]}"
    write_whole(picture, lambda path: draw(results, title, path))
    return [stem.with_suffix(suffix) for suffix in (".json", ".md", ".png")]


def free_stem(out: Path, machine: Mapping[str, Any], kind: str = "") -> Path:
    """FOLDER/<date>-<host>-<cores>, with a number behind it if that is taken; makes the folder."""
    out.mkdir(parents=True, exist_ok=True)
    stem = f"{now()[:10]}-{machine['host']}-{machine['cores']}{kind}"
    number, chosen = 1, stem
    while (out / f"{chosen}.json").exists():
        number += 1
        chosen = f"{stem}-{number}"
    return out / chosen


def now() -> str:
    """Local time, ISO 8601, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401 - anything that JSON has
    """Write it whole; what is no number becomes null."""
    text = json.dumps(finite(content), indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text))


def finite(content: Any) -> Any:  # noqa: ANN401 - anything that JSON has
    """The same without NaN and infinity, which JSON does not have."""
    if isinstance(content, float):
        return round(content, 4) if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return content


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside it, then put it in its place."""
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _markdown(
    results: Results,
    ratios: Sequence[Ratio],
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
    command: str,
    date: str,
    picture: str,
) -> str:
    parts = [
        head("Serving benchmark", machine, command, date),
        _HOW,
        f"\nRounds: {settings['rounds']}, of {settings['seconds']:g} s a run. ",
        f"Model: {settings['model']}. Our engine: {settings['engine']}.\n",
        f"\n![Throughput and latency of each side]({picture})\n",
        "\n## Ratios\n\n" + ratio_table(ratios),
        "\n## Sides\n\n" + side_table(results) + "\n",
        *(f"- **{side}**: {what}\n" for side, what in results.described.items()),
        "\n## Photos\n\n" + _photos(settings["photos"]),
    ]
    for cell in results.cells():
        title = f"{cell}"[0].upper() + f"{cell}"[1:]
        parts.append(f"\n## {title}\n\n" + cell_table(results, cell))
    return "".join(parts)


def _photos(photos: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    rows = [
        (name, each["name"], f"{each['bytes'] / 1000:.0f}")
        for name in photos
        for each in photos[name]
    ]
    return table(("set", "photo", "kB"), rows)
