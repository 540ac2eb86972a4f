"""What `catbreeds bench` does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.serving.errors import BenchError, check_needs
from benchmarks.serving.figures import CLIENTS, PERCENTS, Cell
from benchmarks.serving.machine import machine
from benchmarks.serving.photos import SETS, photo_set, summary
from benchmarks.serving.project import Engine, drawn_data, pack, random_run, unpack
from benchmarks.serving.ratios import ratios
from benchmarks.serving.report import (
    finite,
    free_stem,
    now,
    write_comparison,
    write_json,
    write_whole,
)
from benchmarks.serving.rounds import CAPACITY, Plan, Stage, staged
from benchmarks.serving.scaling import measure_scaling, scaling_tables
from benchmarks.serving.sides.ours import OursSide
from benchmarks.serving.sides.registry import NEEDS, make_sides
from benchmarks.serving.sides.side import Side
from benchmarks.serving.soak import CLIENTS as SOAK_CLIENTS
from benchmarks.serving.soak import WARM_UP, soak
from benchmarks.serving.tables import head, ratio_table, table
from training.progress import steps_bar

RESULTS = Path("benchmarks/results")
ROUNDS, SECONDS = 7, 10.0
_QUICK_ROUNDS, _QUICK_SECONDS = 2, 2.0
_LARGE_CLIENTS = (1, 8)


@dataclass(frozen=True)
class Options:
    """As given on the command line.

    Attributes:
        run: None: one with seeded random weights is made.
        sides, photos: None: all; of a quick run fewer photos.
        rounds, seconds: None: those of a quick or a full run.
        data: photos of the run's training, by which less than float32 is allowed.
        settings: of our archive's `catbreeds:` section.
        command: as it was typed, for the report.
    """

    run: Path | None = None
    data: Path | None = None
    sides: Sequence[str] | None = None
    photos: Sequence[str] | None = None
    rounds: int | None = None
    seconds: float | None = None
    only_closed: bool = False
    quick: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    out: Path = RESULTS
    as_json: bool = False
    command: str = "catbreeds bench"


def compare(options: Options) -> None:
    """Measure all sides, write the report, print the ratios.

    Raises:
        BenchError: something is missing, or a side does not start or does not agree.
    """
    names = list(options.sides or NEEDS)
    sides = make_sides(names)
    check_needs(["wrk", *(need for side in sides for need in NEEDS[side.name])])
    if not options.only_closed:
        check_needs(["locust"])
    plan = make_plan(options)
    described = machine()
    with tempfile.TemporaryDirectory() as scratch, steps_bar() as bar:
        task = bar.add_task("bench", total=plan.steps(len(sides)))

        def report(step: str) -> None:
            bar.update(task, note=step, advance=int(step.startswith(("round", "warming"))))

        with _staged(options, sides, plan, Path(scratch), report) as (stage, used):
            results = stage.measure(plan)
    found = ratios(results)
    settings = {
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "ours": dict(options.settings),
        "model": str(options.run or "R50x1 of random weights"),
        **used,
    }
    files = write_comparison(options.out, results, found, described, settings, options.command)
    if options.as_json:
        print(files[0].read_text(), end="")
        return
    print(ratio_table(found))
    print(f"written: {', '.join(map(str, files))}")


def soak_ours(options: Options, requests: int) -> None:
    """See `soak`; writes and prints.

    Raises:
        BenchError: it does not start, or does not answer with 200.
    """
    side = OursSide()
    described = machine()
    plan = Plan([CAPACITY], 1, 1)
    with tempfile.TemporaryDirectory() as scratch, steps_bar() as bar:
        task = bar.add_task("soak", total=requests + WARM_UP)
        with _staged(options, [side], plan, Path(scratch), lambda _: None) as (_, _):
            side.resume()
            found = soak(side, photo_set("small"), requests, lambda n: bar.advance(task, n))
    names = sorted({*found.before, *found.after})
    rows = [
        *((name, found.before.get(name, 0.0), found.after.get(name, 0.0)) for name in names),
        ("all", sum(found.before.values()), sum(found.after.values())),
    ]
    text = (
        f"{requests} requests by {SOAK_CLIENTS} clients after {WARM_UP} to warm up, "
        f"{found.rate:.0f} a second: PSS grew by {found.grown_percent:.2f}%.\n\n"
    )
    text += table(
        ("process", "PSS MB before", "PSS MB after"),
        [(name, f"{one:.1f}", f"{other:.1f}") for name, one, other in rows],
    )
    _write(options, described, "soak", "Soak", asdict(found), text)


def scale(options: Options) -> None:
    """See `scaling`; writes and prints."""
    described = machine()
    with steps_bar() as bar:
        task = bar.add_task("scaling", total=None)
        seconds = options.seconds or (1.0 if options.quick else 5.0)
        found = measure_scaling(options.settings, seconds, lambda step: bar.update(task, note=step))
    _write(options, described, "scaling", "Scaling", asdict(found), scaling_tables(found))


def make_plan(options: Options) -> Plan:
    """The cells of a round.

    Raises:
        BenchError: an impossible choice; names it and what is allowed.
    """
    photos = list(options.photos or (("small", "large") if options.quick else SETS))
    for name in photos:
        if name not in SETS:
            raise BenchError(f"--photos: {name!r} is not allowed; one of {list(SETS)} is")
    few = [count for count in CLIENTS if not (options.quick and count == 2)]
    cells = [Cell("closed", "small", count) for count in few] if "small" in photos else []
    if "large" in photos:
        clients = _LARGE_CLIENTS[:1] if options.quick else _LARGE_CLIENTS
        cells += [Cell("closed", "large", each) for each in clients]
    if "mixed" in photos:
        cells.append(Cell("closed", "mixed", 8))
    if not options.only_closed and CAPACITY in cells:
        percents = PERCENTS[1:] if options.quick else PERCENTS
        cells += [Cell("open", "small", percent) for percent in percents]
    rounds = options.rounds or (_QUICK_ROUNDS if options.quick else ROUNDS)
    return Plan(cells, rounds, options.seconds or (_QUICK_SECONDS if options.quick else SECONDS))


@contextmanager
def _staged(
    options: Options,
    sides: Sequence[Side],
    plan: Plan,
    scratch: Path,
    report: Any,  # noqa: ANN401
) -> Iterator[tuple[Stage, dict[str, Any]]]:
    report("drawing photos")
    names = {cell.photos: None for cell in plan.cells} | {"small": None}
    photos = {name: photo_set(name) for name in names}
    report("packing the model")
    data = options.data
    if data is None and options.run is None and "precision" in options.settings:
        data = drawn_data(scratch / "data")
    run = options.run or random_run(scratch / "run", data=data)
    archive = pack(run, scratch / "store", options.settings, data)
    model_dir = unpack(archive, scratch / "model")
    engine = _engine(model_dir, options.settings)
    reduced = not engine.endswith("f32")
    with staged(sides, run, archive, model_dir, photos, report, reduced) as stage:
        sent = {name: summary(each) for name, each in photos.items()}
        yield stage, {"engine": engine, "photos": sent}


def _engine(model_dir: Path, settings: Mapping[str, Any]) -> str:
    """What our engine is on this machine.

    Raises:
        BenchError: another than was asked for: a worker falls back, and figures would mislead.
    """
    engine = Engine(model_dir, 1).described
    for key in ("engine", "precision"):
        if settings.get(key, "auto") != "auto" and settings[key] not in engine:
            raise BenchError(
                f"--{key} {settings[key]}: our engine is {engine} here; less than f32 needs a "
                "--run that agrees with its float32 answers on the photos of --data"
            )
    return engine


def _write(
    options: Options,
    described: Mapping[str, Any],
    kind: str,
    title: str,
    found: dict[str, Any],
    text: str,
) -> None:
    stem = free_stem(options.out, described, f"-{kind}")
    date = now()
    content = {"date": date, "command": options.command, "machine": described, kind: found}
    whole = head(title, described, options.command, date) + text
    write_json(stem.with_suffix(".json"), content)
    write_whole(stem.with_suffix(".md"), lambda path: path.write_text(whole))
    if options.as_json:
        print(json.dumps(finite(content), indent=1))
    else:
        print(text)
        print(f"written: {stem.with_suffix('.json')}, {stem.with_suffix('.md')}")
