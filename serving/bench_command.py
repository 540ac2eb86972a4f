"""`catbreeds bench`. It imports `benchmarks` when it runs, and only then."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def add_commands(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        epilog="Example: catbreeds bench --quick\n\n"
        "Part of it: catbreeds bench --sides ours,flask --rounds 3 --seconds 5 --only-closed"
    )(bench)


def bench(
    run: Annotated[
        Path | None, typer.Option(help="A finished run folder; else an R50x1 of random weights.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Photos of the run's training: less than float32 needs them."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="At most ten minutes on two cores, and less certain.")
    ] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="Else 7, or 2 with --quick.")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=1, max=600, help="Of one load in a round; else 10, or 2 with --quick."),
    ] = None,
    sides: Annotated[
        str | None,
        typer.Option(
            help="With commas between: flask, fastapi, litserve, torchserve-stock, "
            "litserve-engine, limit, ours, gateway; else all."
        ),
    ] = None,
    photos: Annotated[
        str | None,
        typer.Option(
            help="With commas between: small (500 x 375), large (12 megapixels), mixed; else all, "
            "with --quick the first two."
        ),
    ] = None,
    only_closed: Annotated[
        bool, typer.Option("--only-closed", help="Leave out the open loop, which shows overload.")
    ] = False,
    precision: Annotated[
        str | None, typer.Option(help="Of our engine, as in model-config.yaml; else its default.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Ours, as in model-config.yaml; else its default.")
    ] = None,
    soak: Annotated[
        int | None,
        typer.Option(min=1, help="Instead: does ours grow over so many requests? 10000 say much."),
    ] = None,
    scaling: Annotated[
        bool,
        typer.Option("--scaling", help="Instead: our engine at 128, 224 and 480 px, in process."),
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("benchmarks/results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report's JSON.")] = False,
) -> None:
    """Measure this service against what people use instead, on this machine.

    All sides serve the same weights and take turns. Writes JSON, Markdown and a plot. Needs wrk and
    the extra `bench`; nothing else should be at work on the machine.
    """
    from benchmarks.serving.errors import BenchError, check_needs

    if soak is not None and scaling:
        raise BenchError("--soak and --scaling: one of them at a time")
    if soak is None and not scaling:
        check_needs(["wrk"])  # before torch is loaded
    from benchmarks.serving import bench as benchmark
    from training.data.dataset import check_outside

    if data is not None:
        check_outside(out, data, "--out")

    settings = {"precision": precision, "engine": engine}
    options = benchmark.Options(
        run=run,
        data=data,
        sides=_split(sides),
        photos=_split(photos),
        rounds=rounds,
        seconds=seconds,
        only_closed=only_closed,
        quick=quick,
        settings={name: value for name, value in settings.items() if value is not None},
        out=out,
        as_json=as_json,
        command=shlex.join(["catbreeds", *sys.argv[1:]]),
    )
    if scaling:
        benchmark.scale(options)
    elif soak is not None:
        benchmark.soak_ours(options, soak)
    else:
        benchmark.compare(options)


def _split(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]
