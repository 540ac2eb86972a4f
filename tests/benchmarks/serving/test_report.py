"""From rounds to ratios to files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.serving.figures import Cell, Load, Measured, Results
from benchmarks.serving.ratios import ratios
from benchmarks.serving.report import write_comparison

ONE, EIGHT = Cell("closed", "small", 1), Cell("closed", "small", 8)
LARGE = Cell("closed", "large", 1)
CALM, OVER = Cell("open", "small", 80), Cell("open", "small", 120)
LOAD = Load(2.0, 20, 10.0, 50.0, 80.0, 90.0, {200: 20}, 0, {"server": 30.0})
MACHINE: dict[str, Any] = {
    "cpu": "Some CPU",
    "flags": ["avx2"],
    "cores": 2,
    "memory_gb": 8.0,
    "kernel": "6.1",
    "host": "here",
    "load_average": 0.1,
    "git": "0" * 40,
    "versions": {"python": "3.11"},
}
SETTINGS: dict[str, Any] = {
    "rounds": 2,
    "seconds": 2.0,
    "model": "a small one",
    "engine": "torch in f32",
    "photos": {"small": [{"name": "cat.jpeg", "bytes": 70_000}]},
}


def results(*measured: tuple[str, Cell, list[Load]]) -> Results:
    sides = list(dict.fromkeys(side for side, _, _ in measured))
    return Results(
        [
            Measured(side, cell, number, load)
            for side, cell, loads in measured
            for number, load in enumerate(loads)
        ],
        {side: f"what {side} is" for side in sides},
        dict.fromkeys(sides, 3.0),
        {side: {"server": 400.0} for side in sides},
        250.0,
    )


def rates(*values: float) -> list[Load]:
    return [replace(LOAD, rate=value) for value in values]


def test_ratios_are_taken_within_each_round() -> None:
    # The machine is half as fast in the second round: no side is better for it.
    found = ratios(results(("flask", EIGHT, rates(10, 5)), ("ours", EIGHT, rates(30, 20))))
    by_name = {ratio.name: ratio for ratio in found}
    ratio = by_name["throughput: ours / flask, 8 clients"]
    assert ratio.rounds == (3.0, 4.0)
    assert (ratio.spread.median, ratio.spread.least, ratio.spread.most) == (3.5, 3.0, 4.0)
    assert by_name["PSS of each further worker of ours"].rounds == (250.0,)
    assert len(found) == 2


def test_cost_latency_and_overload() -> None:
    slow = replace(LOAD, p50_ms=200.0, cpu_ms={"java": 10.0, "worker": 80.0})
    found = ratios(
        results(
            ("limit", ONE, [replace(LOAD, p50_ms=42.0)]),
            ("limit", EIGHT, [replace(LOAD, cpu_ms={"worker": 25.0})]),
            ("ours", ONE, [LOAD]),
            ("ours", EIGHT, rates(10)),
            ("ours", LARGE, [slow]),
            ("gateway", EIGHT, rates(10)),
            ("gateway", CALM, [LOAD]),
            ("gateway", OVER, [replace(LOAD, rate=9.5, p99_ms=135.0)]),
        )
    )
    values = {ratio.name: (ratio.rounds[0], ratio.unit) for ratio in found}
    assert values["CPU a photo: ours / limit, 8 clients"] == (1.2, "x")
    assert values["latency of a lone photo: ours - limit, p50"] == (8.0, "ms")
    assert values["CPU of ours: 12 megapixels / 500 x 375, 1 client"] == (3.0, "x")
    assert values["latency p50 of ours: 12 megapixels / 500 x 375, 1 client"] == (4.0, "x")
    assert values["gateway at 120%: goodput / capacity"] == (0.95, "x")
    assert values["gateway, accepted requests: p99 at 120% / p99 at 80%"] == (1.5, "x")


def test_a_side_without_answers_has_no_ratio() -> None:
    found = ratios(results(("flask", EIGHT, rates(0)), ("ours", EIGHT, rates(30))))
    assert not any("flask" in ratio.name for ratio in found)


def test_the_files_hold_it_all(tmp_path: Path) -> None:
    nothing = replace(LOAD, ok=0, rate=0.0, p99_ms=float("nan"), errors=7)
    measured = results(
        ("flask", EIGHT, rates(10, 5)), ("ours", EIGHT, rates(30, 20)), ("ours", OVER, [nothing])
    )
    out = tmp_path / "results"
    for _ in range(2):
        files = write_comparison(
            out, measured, ratios(measured), MACHINE, SETTINGS, "catbreeds bench --quick"
        )
    # The first run of the day is not written over, and nothing half-written is left.
    assert len(list(out.iterdir())) == 6
    read = json.loads(files[0].read_text())
    assert read["command"] == "catbreeds bench --quick"
    assert read["machine"]["cpu"] == "Some CPU"
    assert read["sides"]["flask"]["what"] == "what flask is"
    (ratio,) = (each for each in read["ratios"] if "flask" in each["name"])
    assert (ratio["median"], ratio["rounds"]) == (3.5, [3.0, 4.0])
    assert read["measured"][-1]["load"]["p99_ms"] is None
    text = files[1].read_text()
    for expected in (
        "| throughput: ours / flask, 8 clients | 3.50 (3.00 to 4.00) | 2 |",
        "| flask | 7.5 (5.0 to 10.0) | 50.0 |",
        "what flask is",
        "Some CPU, 2 cores",
        "`catbreeds bench --quick`",
        f"]({files[2].name})",
    ):
        assert expected in text
    with Image.open(files[2]) as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize("missing", [ONE, EIGHT])
def test_a_part_can_be_drawn(tmp_path: Path, missing: Cell) -> None:
    measured = results(("ours", EIGHT if missing == ONE else ONE, rates(1, 2)))
    files = write_comparison(tmp_path, measured, ratios(measured), MACHINE, SETTINGS, "x")
    assert all(file.stat().st_size for file in files)
