"""`catbreeds bench --scaling`: what a photo costs by the size of the input, in process."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving.errors import BenchError
from benchmarks.serving.floor import Peak, Work, measure_peak, work
from benchmarks.serving.machine import cores
from benchmarks.serving.photos import photo_set
from benchmarks.serving.processes import cpu_s, end
from benchmarks.serving.project import drawn_data, folded, pack, random_run, unpack
from benchmarks.serving.sides.child import last_line, launch
from benchmarks.serving.tables import table

SIDES = (128, 224, 480)


@dataclass(frozen=True)
class Cost:
    """The engine alone, without decoding.

    Attributes:
        side: of the square input, px.
        threads: of the engine.
        batch: photos at a time.
        ms, cpu_ms: of a photo, on the clock and on cores.
    """

    side: int
    threads: int
    batch: int
    ms: float
    cpu_ms: float

    @property
    def ns_a_pixel(self) -> float:
        """Of the clock, for a pixel of the input."""
        return 1e6 * self.ms / self.side**2


@dataclass(frozen=True)
class Scaling:
    """All of it; `peaks` for one thread and for all."""

    engine: str
    costs: Sequence[Cost]
    works: Sequence[Work]
    peaks: Sequence[Peak]


def measure_scaling(
    settings: Mapping[str, Any],
    seconds: float,
    report: Callable[[str], None],
    member: str = "R50x1",
    sides: Sequence[int] = SIDES,
) -> Scaling:
    """Run the engine at several sizes, and the machine at its peaks.

    Args:
        settings: of the archive's `catbreeds:` section, such as the precision.
        seconds: for each figure.
        report: is told what is done.
    """
    counts = sorted({1, cores()})
    costs, works, engine = [], [], ""
    with tempfile.TemporaryDirectory() as scratch:
        data = drawn_data(Path(scratch) / "data") if "precision" in settings else None
        for side in sides:
            folder = Path(scratch) / str(side)
            run = random_run(folder / "run", member, side, data=data)
            model_dir = unpack(pack(run, folder / "store", settings, data), folder / "model")
            works.append(work(folded(model_dir), side))
            for threads in counts:
                report(f"{side} px, {threads} threads")
                engine, found = _costs(model_dir, folder, side, threads, seconds)
                costs += found
    report("the machine's peaks")
    return Scaling(engine, costs, works, [measure_peak(threads) for threads in counts])


def _costs(
    model_dir: Path, folder: Path, side: int, threads: int, seconds: float
) -> tuple[str, list[Cost]]:
    photo = folder / "photo"
    photo.write_bytes(photo_set("small")[0].data)
    process = launch(
        "benchmarks.serving.sides.limit_loop",
        ("--model-dir", str(model_dir), "--threads", str(threads)),
        folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None:
        raise BenchError("no pipe")  # to tell the type checker

    def read() -> dict[str, Any]:
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            raise BenchError(f"the engine's process ended: {last_line(folder)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    found = []
    try:
        engine = str(read()["engine"])
        for batch in (1, 8):
            asked = {
                "photos": [str(photo)],
                "seconds": seconds,
                "batch": batch,
                "at": time.monotonic(),
                "decoded": True,
            }
            before = sum(cpu_s([process.pid]).values())
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
            answer = read()
            spent = sum(cpu_s([process.pid]).values()) - before
            done = answer["photos"]
            found.append(
                Cost(side, threads, batch, 1000 * answer["seconds"] / done, 1000 * spent / done)
            )
    finally:
        end(process)
        process.stdin.close()
        process.stdout.close()
    return engine, found


def scaling_tables(scaling: Scaling) -> str:
    """Markdown: the costs, and the machine's floor beside them."""
    works = {each.side: each for each in scaling.works}
    peaks = {each.threads: each for each in scaling.peaks}
    rows = []
    for cost in scaling.costs:
        least = works[cost.side].compute_ms(peaks[cost.threads])
        rows.append(
            (
                *(cost.side, cost.threads, cost.batch, f"{cost.ms:.2f}", f"{cost.cpu_ms:.2f}"),
                *(f"{cost.ns_a_pixel:.0f}", f"{least:.2f}", f"{100 * least / cost.ms:.0f}%"),
            )
        )
    engine = table(
        (
            *("px", "threads", "batch", "ms a photo", "CPU ms a photo", "ns a pixel"),
            *("float32 floor ms", "of the peak"),
        ),
        rows,
    )
    machine = table(
        ("threads", "float32 GFLOP/s", "bfloat16 GFLOP/s", "copy GB/s"),
        [
            (
                *(each.threads, f"{each.float32_gflops:.0f}", f"{each.bfloat16_gflops:.0f}"),
                f"{each.copy_gb_s:.1f}",
            )
            for each in scaling.peaks
        ],
    )
    most = scaling.peaks[-1]
    needed = table(
        (
            *("px", "GFLOP", "weights MB", "activations MB"),
            *("ms of arithmetic, all cores", "ms of memory, all cores"),
        ),
        [
            (
                *(each.side, f"{each.gflop:.2f}", f"{each.weights_mb:.1f}"),
                f"{each.activations_mb:.1f}",
                *(f"{each.compute_ms(most):.2f}", f"{each.memory_ms(most):.2f}"),
            )
            for each in scaling.works
        ],
    )
    return (
        f"## Engine\n\n{scaling.engine}; R50x1, in process, without decoding.\n\n{engine}"
        f"\n## Machine\n\n{machine}\n## What a photo takes\n\n{needed}"
    )
