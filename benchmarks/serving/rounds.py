"""All sides up at once, one of them at work, taking turns.

Whatever else the machine does, and however warm it is, meets every side; and no side takes cores
from the one that is measured, as its processes are suspended.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.serving.agreement import check_agreement
from benchmarks.serving.errors import BenchError
from benchmarks.serving.figures import Cell, Load, Measured, Results
from benchmarks.serving.load.closed import run_closed
from benchmarks.serving.load.open import run_open
from benchmarks.serving.photos import Photo
from benchmarks.serving.processes import (
    Guard,
    cpu_between,
    cpu_s,
    pss_mb,
    standard_error_to,
)
from benchmarks.serving.sides.limit import LimitSide
from benchmarks.serving.sides.ours import OursSide
from benchmarks.serving.sides.side import HttpSide, Setup, Side

# Capacity is what this got, and open loads are percents of it.
CAPACITY = Cell("closed", "small", 8)
_WARM = 3
_IDLE_S, _LOOK_S, _IDLE_SHARE = 30.0, 0.2, 0.2

Report = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        cells: those of a round, in order; a closed loop of 8 before open ones.
        seconds: of one run of a generator.
    """

    cells: Sequence[Cell]
    rounds: int
    seconds: float

    def steps(self, sides: int) -> int:
        """How many runs there are at most, for a progress bar; one of each side warms it up."""
        return (self.rounds * len(self.cells) + 1) * sides


class Stage:
    """The sides that are up, and the photos as files.

    Args:
        photos: name of the set -> photos.
        report: is told what is done; one call before each run.
    """

    def __init__(
        self, sides: Sequence[Side], setup: Setup, photos: dict[str, list[Photo]], report: Report
    ) -> None:
        self.sides, self.setup, self._photos, self._report = sides, setup, photos, report
        self._files = {name: _written(each, setup.folder) for name, each in photos.items()}

    def measure(self, plan: Plan) -> Results:
        """Take turns."""
        measured: list[Measured] = []
        sizes: dict[str, list[dict[str, float]]] = {side.name: [] for side in self.sides}
        for side in self.sides:
            self._report(f"warming up {side.name}")
            # Java compiles what is run often, only then.
            self._one(side, CAPACITY, plan.seconds, 0, ())
        for number in range(plan.rounds):
            for at, cell in enumerate(plan.cells):
                first = (number + at) % len(self.sides)
                for side in (*self.sides[first:], *self.sides[:first]):
                    self._report(f"round {number + 1}, {cell}, {side.name}")
                    load = self._one(side, cell, plan.seconds, number, measured)
                    if load is not None:
                        measured.append(Measured(side.name, cell, number, load))
            for side in self.sides:
                found = pss_mb(side.pids)
                sizes[side.name].append({name: sum(mb) for name, mb in found.items()})
        return Results(
            measured,
            {side.name: side.what for side in self.sides},
            {side.name: side.startup_s for side in self.sides},
            {name: _medians(each) for name, each in sizes.items()},
            self._further_worker(),
        )

    def _one(
        self, side: Side, cell: Cell, seconds: float, number: int, so_far: Sequence[Measured]
    ) -> Load | None:
        side.resume()
        try:
            if isinstance(side, LimitSide):
                if cell.loop == "open":
                    return None
                return side.measure(self._files[cell.photos], cell.level, seconds)
            if not isinstance(side, HttpSide):
                return None
            for photo in self._photos[cell.photos][:_WARM]:
                side.answer(photo.data)
            before = cpu_s(side.pids)
            load = self._ask(side, cell, seconds, number, so_far)
            spent = cpu_between(before, cpu_s(side.pids))
            answered = max(1, load.statuses.get(200, 0))
            cpu_ms = {name: 1000 * cpu / answered for name, cpu in spent.items()}
            return load.with_photos(load.ok, load.rate, cpu_ms)
        finally:
            _wait_until_idle(side)
            side.suspend()

    def _ask(
        self, side: HttpSide, cell: Cell, seconds: float, number: int, so_far: Sequence[Measured]
    ) -> Load:
        target = side.target()
        host = f"http://{target.host}:{target.port}"
        with tempfile.TemporaryDirectory(dir=self.setup.folder) as folder:
            files = []
            closed = cell.loop == "closed"
            for at, photo in enumerate(self._photos[cell.photos]):
                files.append(Path(folder) / str(at))
                data = target.request(photo.data) if closed else target.body(photo.data)[1]
                files[-1].write_bytes(data)
            if closed:
                return run_closed(host, files, cell.level, seconds)
            capacity = next(
                each.load.rate
                for each in reversed(so_far)
                if (each.side, each.cell, each.round) == (side.name, CAPACITY, number)
            )
            headers = target.body(b"")[0]
            rate = max(0.1, capacity * cell.level / 100)
            return run_open(host, target.path, headers, files, rate, seconds, seed=number)

    def _further_worker(self) -> float | None:
        """MB that one worker of ours more adds, all shared memory counted in parts."""
        ours = next((side for side in self.sides if isinstance(side, OursSide)), None)
        if ours is None:
            return None
        ours.resume()
        workers = len(ours.worker_pids())
        totals = []
        for count in (workers, workers + 1):
            ours.scale(count)
            self._ask(ours, CAPACITY, 1, 0, ())
            totals.append(sum(sum(each) for each in pss_mb(ours.pids).values()))
        ours.scale(workers)
        ours.suspend()
        return totals[1] - totals[0]


@contextmanager
def staged(
    sides: Sequence[Side],
    run: Path,
    archive: Path,
    model_dir: Path,
    photos: dict[str, list[Photo]],
    report: Report,
    reduced: bool = False,
) -> Iterator[Stage]:
    """Start all sides one by one, see that they agree, and end them.

    Args:
        reduced: whether our engine computes in less than float32.

    Raises:
        BenchError: one does not start, or answers differently.
    """
    # A short name: TorchServe's workers listen on sockets in it.
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with Guard() as guard, ExitStack() as undo:
            photo = photos["small"][0].data
            setup = Setup(run, archive, model_dir, folder, photo, guard)
            for side in sides:
                report(f"starting {side.name}")
                undo.callback(side.stop)
                with standard_error_to(folder / f"{side.name}.log"):
                    side.start(setup)
                side.suspend()
            report("comparing the answers")
            check_agreement(sides, run, [each[0] for each in photos.values()], reduced)
            yield Stage(sides, setup, photos, report)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_idle(side: Side) -> None:
    """What a generator left unanswered must not be the next one's work."""
    deadline = time.monotonic() + _IDLE_S
    while time.monotonic() < deadline:
        before = cpu_s(side.pids)
        time.sleep(_LOOK_S)
        if sum(cpu_between(before, cpu_s(side.pids)).values()) < _IDLE_SHARE * _LOOK_S:
            return
    raise BenchError(f"{side.name}: is still busy {_IDLE_S:.0f} s after its load has ended")


def _written(photos: Sequence[Photo], folder: Path) -> list[Path]:
    files = []
    for photo in photos:
        files.append(folder / photo.name)
        files[-1].write_bytes(photo.data)
    return files


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    names = {name: None for each in rounds for name in each}
    return {name: median([each.get(name, 0.0) for each in rounds]) for name in names}
