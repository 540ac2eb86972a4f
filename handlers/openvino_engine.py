"""OpenVINO as an engine: the converted network of the archive, with the archive's own weights.

An archive holds the network's graph (`openvino/*.xml`) but not its weights a second time:
`openvino/*.json` says which parameter of the folded model, or which piece of `openvino/*.bin`,
stands at which byte of what the graph points into. See `training.conversion`. The first worker
writes that as a file, and all workers map it into their memory, where it is the same pages.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch

from handlers.checksums import SHARED_FOLDER
from handlers.config import EngineName, Precision

FOLDER = "openvino"
# By precision of the arithmetic: which graph. An int8 graph has the ranges of its values in it.
GRAPHS: dict[Precision, str] = {"f32": "network", "bf16": "network", "int8": "int8"}
# Of what is not int8 in an int8 graph.
_FLOAT_PRECISION = {"f32": "f32", "bf16": "bf16", "int8": "f32"}


class GraphError(Exception):
    """The archive's converted network cannot be used; the message says why."""


def graph_files(precision: Precision) -> tuple[str, str, str]:
    """Names below the archive's folder: graph, layout of its buffer, literal pieces."""
    stem = f"{FOLDER}/{GRAPHS[precision]}"
    return f"{stem}.xml", f"{stem}.json", f"{stem}.bin"


def supported_precisions() -> tuple[Precision, ...]:
    """What this machine's CPU computes faster than float32, and float32 itself, fastest first."""
    able = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    found: list[Precision] = []
    if "INT8" in able and _has_vnni():
        found.append("int8")
    if "BF16" in able:
        found.append("bf16")
    return (*found, "f32")


class OpenVinoEngine:
    """The network compiled by OpenVINO for this CPU."""

    name: EngineName = "openvino"

    def __init__(
        self,
        folder: Path,
        parameters: Mapping[str, torch.Tensor],
        precision: Precision,
        threads: int,
    ) -> None:
        """Put the weights into the graph, and compile it: a quarter of a second for R50x1.

        Args:
            folder: an unpacked archive.
            parameters: state dict of the folded float32 model.
            threads: of one inference.

        Raises:
            GraphError: files are missing, or do not fit each other or the parameters.
        """
        self.precision: Precision = precision
        graph = read_graph(folder, parameters, precision)
        settings = {
            "INFERENCE_PRECISION_HINT": _FLOAT_PRECISION[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # By default each process pins its threads to the first cores: two workers would share
            # core 0 and leave another idle.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            self._request = _core().compile_model(graph, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise GraphError(f"cannot be compiled: {_line(error)}") from error

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """See `handlers.engines.Engine.logits`."""
        self._request.infer([batch.numpy()], share_inputs=True)
        # Copied: the next call writes into the same memory.
        return torch.from_numpy(self._request.get_output_tensor().data.copy())


def read_graph(folder: Path, parameters: Mapping[str, torch.Tensor], precision: Precision) -> Any:  # noqa: ANN401
    """The archive's graph with its weights, as an `openvino.Model`.

    Args:
        folder: an unpacked archive; a file with the weights comes to lie in its `SHARED_FOLDER`.
        parameters: state dict of the folded float32 model.

    Raises:
        GraphError: files are missing, or do not fit each other or the parameters.
    """
    graph, layout, literals = (folder / name for name in graph_files(precision))
    shared = folder / SHARED_FOLDER
    try:
        shared.mkdir(exist_ok=True)
        weights = shared / graph.with_suffix(".weights").name
        with (shared / "lock").open("w") as lock:
            # Workers load at the same time; whoever comes second takes what the first has made.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not weights.exists():
                partial = weights.with_suffix(".partial")
                content = json.loads(layout.read_text())
                _buffer(content, literals.read_bytes(), parameters).tofile(partial)
                partial.replace(weights)
        return _core().read_model(graph, weights)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise GraphError(f"{graph.name}: {_line(error)}") from error


def _buffer(
    layout: Mapping[str, Any], literals: bytes, parameters: Mapping[str, torch.Tensor]
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes that a graph's constants point into: uint8 (size,)."""
    buffer = np.zeros(layout["size"], np.uint8)
    for name, places in layout["parameters"].items():
        values = parameters[name].detach().contiguous().numpy().reshape(-1).view(np.uint8)
        for start in places:
            buffer[start : start + values.size] = values
    taken = 0
    for start, size in layout["literals"]:
        buffer[start : start + size] = np.frombuffer(literals, np.uint8, size, taken)
        taken += size
    return buffer


def _line(error: Exception) -> str:
    """OpenVINO tells on several lines, the last of which say what is wrong."""
    return " ".join(str(error).split())[-300:]


def openvino_module() -> ModuleType:
    """The package `openvino`, without its telemetry, which would report to its maker."""
    # With None there, importing it fails, and openvino takes its own stub instead.
    sys.modules.setdefault("openvino_telemetry", cast("ModuleType", None))
    return importlib.import_module("openvino")


@cache
def _core() -> Any:  # noqa: ANN401
    """One for the process."""
    return openvino_module().Core()


def _has_vnni() -> bool:
    """Whether the CPU multiplies int8 and sums up in int32 in one step; else int8 gains nothing."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "vnni" in flags or "amx_int8" in flags or os.uname().machine == "aarch64"
