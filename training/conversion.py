"""The network as OpenVINO's graph, for the archive: `openvino/` below an archive's folder.

    network.xml, network.json, network.bin   for f32 and bf16
    int8.xml, int8.json, int8.bin            the same with the ranges that int8 stands for

A graph's constants are mostly the folded model's own parameters, which the worker has anyway. So
what OpenVINO writes beside the graph is not packed; the .json says for each parameter at which byte
it belongs, and the .bin holds what is no parameter, a few kilobytes.
`handlers.openvino_engine.read_graph` puts them together again.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from handlers.config import Precision
from handlers.openvino_engine import graph_files, openvino_module

# Where a constant's bytes lie in what OpenVINO writes beside its graph.
_DATA = re.compile(r'<data [^>]*offset="(\d+)" size="(\d+)"')


def convert(model: nn.Module, size: tuple[int, int]) -> Any:  # noqa: ANN401
    """The graph of a folded model, as an `openvino.Model`: float32 (N, 3, height, width), N left
    open, to float32 (N, classes).

    Args:
        model: folded, evaluation mode, on the CPU.
        size: (height, width) of its input.
    """
    openvino = openvino_module()
    # Channels last, the export would write down strides that mean nothing to OpenVINO.
    model = model.to(memory_format=torch.contiguous_format)
    example = torch.zeros(2, 3, *size)
    batch = torch.export.Dim("batch", min=1, max=4096)
    exported = torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
    graph = openvino.convert_model(exported)
    graph.reshape({graph.input(0): openvino.PartialShape([-1, 3, *size])})
    return graph


def quantise(graph: Any, inputs: Sequence[Tensor]) -> Any:  # noqa: ANN401
    """The graph with the ranges of weights and activations that int8 stands for (by NNCF's
    post-training quantisation, https://docs.openvino.ai/nncf).

    Args:
        graph: of `convert`.
        inputs: float32 (1, 3, height, width) each, of photos as the model will see them.
    """
    openvino_module()
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters

    # Weights stay float32 parameters, so that the archive need not hold them twice; OpenVINO turns
    # them into int8 when it compiles the graph.
    kept = AdvancedQuantizationParameters(backend_params={"compress_weights": False})
    # Its own set_log_level changes whatever handlers hang there, which are not all its own.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    # It shows progress bars whether or not there is a terminal.
    with redirect_stdout(io.StringIO()):
        return nncf.quantize(
            graph,
            nncf.Dataset([each.numpy() for each in inputs]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            advanced_parameters=kept,
        )


def write_graph(
    graph: Any,  # noqa: ANN401
    parameters: Mapping[str, Tensor],
    precision: Precision,
    folder: Path,
) -> None:
    """Write a graph's three files below `folder`, which is to become an archive's.

    Args:
        parameters: state dict of the folded model that the graph was made of.
        precision: decides their names.
    """
    xml, layout, literals = (folder / name for name in graph_files(precision))
    xml.parent.mkdir(parents=True, exist_ok=True)
    # OpenVINO numbers graphs and nodes on from one to the next; the same network is to give the
    # same bytes.
    graph.set_friendly_name("network")
    for number, node in enumerate(graph.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
    with tempfile.TemporaryDirectory(prefix="catbreeds-graph-") as scratch:
        written = Path(scratch) / "graph.xml"
        openvino_module().save_model(graph, written, compress_to_fp16=False)
        constants = written.with_suffix(".bin").read_bytes()
        xml.write_bytes(written.read_bytes())
    known = {_digest(_bytes_of(value)): name for name, value in parameters.items()}
    places = {(int(start), int(size)) for start, size in _DATA.findall(xml.read_text())}
    found: dict[str, list[int]] = {}
    pieces: list[tuple[int, int]] = []
    for start, size in sorted(places):
        name = known.get(_digest(constants[start : start + size]))
        if name is None:
            pieces.append((start, size))
        else:
            found.setdefault(name, []).append(start)
    described = {"size": len(constants), "parameters": found, "literals": pieces}
    layout.write_text(json.dumps(described, indent=1) + "\n")
    literals.write_bytes(b"".join(constants[start : start + size] for start, size in pieces))


def _bytes_of(value: Tensor) -> bytes:
    return np.ascontiguousarray(value.detach().contiguous().numpy()).tobytes()


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
