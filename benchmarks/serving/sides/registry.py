"""All sides, in the order of the report. What each needs is looked for before any is started."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.serving.errors import BenchError
from benchmarks.serving.sides.child import ChildSide
from benchmarks.serving.sides.limit import LimitSide
from benchmarks.serving.sides.ours import GatewaySide, OursSide
from benchmarks.serving.sides.side import Side, read_labels, read_lines

# Name -> Python packages of the extra `bench`.
NEEDS: dict[str, tuple[str, ...]] = {
    "flask": ("flask",),
    "fastapi": (),
    "litserve": ("litserve",),
    "torchserve-stock": ("captum",),
    "litserve-engine": ("litserve",),
    "limit": (),
    "ours": (),
    "gateway": (),
}


def make_sides(names: Sequence[str]) -> list[Side]:
    """The sides of these names, not started; the gateway's server is among them before it.

    Raises:
        BenchError: no such side.
    """
    for name in names:
        if name not in NEEDS:
            raise BenchError(f"--sides: {name!r} is not allowed; one of {list(NEEDS)} is")
    wanted = {*names, *(["ours"] if "gateway" in names else [])}
    ours = OursSide()
    made: list[Side] = []
    for name in NEEDS:
        if name in wanted:
            made.append(_make(name, ours))
    return made


def _make(name: str, ours: OursSide) -> Side:
    if name == "torchserve-stock":
        from benchmarks.serving.sides.torchserve_stock import StockSide

        return StockSide()
    other: dict[str, Side] = {
        "flask": ChildSide(
            "flask",
            "flask_original",
            "the original's way: Flask's own threaded server, Pillow, eager PyTorch that "
            "standardises the weights in each call, one photo at a time (without its random flip)",
            "/",
            read_lines,
            "form",
        ),
        "fastapi": ChildSide(
            "fastapi",
            "fastapi_eager",
            "FastAPI and uvicorn, a `def` endpoint, eager PyTorch as published",
            "/classify",
            read_labels,
            "form",
        ),
        "litserve": ChildSide(
            "litserve",
            "litserve_eager",
            "LitServe, eager PyTorch as published; one worker, batches of up to 8, 1 ms to gather",
            "/predict",
            read_labels,
        ),
        "litserve-engine": ChildSide(
            "litserve-engine",
            "litserve_engine",
            "LitServe around our decoding and engine; workers and threads as ours, batches of up "
            "to 8, 1 ms to gather",
            "/predict",
            read_labels,
            calibrated=True,
        ),
        "limit": LimitSide(),
        "ours": ours,
        "gateway": GatewaySide(ours),
    }
    return other[name]
