"""The graphs of an archive: the network's answers, without its weights a second time."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from handlers.config import Precision
from handlers.openvino_engine import GraphError, OpenVinoEngine, graph_files
from tests.training.models.randomised import photos, randomise
from tests.training.models.test_architectures import NAMES, SMALL
from training.conversion import convert, quantise, write_graph
from training.models import ArchitectureName, bit


def folded(name: ArchitectureName) -> tuple[nn.Module, Tensor]:
    options, side = SMALL[name]
    architecture = importlib.import_module(f"training.models.{name}")
    model = architecture.build(5, **options)
    randomise(model)
    return architecture.fold(model).requires_grad_(False), photos(3, side)


def answers(folder: Path, model: nn.Module, precision: Precision, inputs: Tensor) -> Tensor:
    return OpenVinoEngine(folder, model.state_dict(), precision, threads=1).logits(inputs)


def added(folder: Path) -> int:
    """Bytes of what an archive gets."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_gives_the_answers_of_its_network(name: ArchitectureName, tmp_path: Path) -> None:
    model, inputs = folded(name)
    height, width = inputs.shape[2:]
    write_graph(convert(model, (height, width)), model.state_dict(), "f32", tmp_path)
    with torch.inference_mode():
        expected = model(inputs)
    for batch in (inputs[:1], inputs):
        got = answers(tmp_path, model, "f32", batch)
        torch.testing.assert_close(got, expected[: len(batch)], atol=2e-4, rtol=1e-3)
    xml, layout, literals = (tmp_path / each for each in graph_files("f32"))
    described = json.loads(layout.read_text())
    weights = sum(value.numel() * 4 for value in model.state_dict().values())
    # Nearly all of the constants are the model's own parameters, which are not packed again.
    assert literals.stat().st_size < 0.02 * weights + 4096
    assert described["size"] >= 0.9 * weights - 4096
    assert b"/tmp" not in xml.read_bytes()


def test_a_graph_takes_the_weights_that_it_is_given(tmp_path: Path) -> None:
    model, inputs = folded("bit")
    write_graph(convert(model, (64, 64)), model.state_dict(), "f32", tmp_path)
    with torch.no_grad():
        model.get_parameter("head.conv.bias").add_(3)
        expected = model(inputs)
    torch.testing.assert_close(
        answers(tmp_path, model, "f32", inputs), expected, atol=2e-4, rtol=1e-3
    )


def test_int8_adds_ranges_and_no_weights(tmp_path: Path) -> None:
    trained = bit.build(5, units=[1, 1, 1, 1], width=0.5)
    randomise(trained)
    model = bit.fold(trained).requires_grad_(False)
    graph = convert(model, (64, 64))
    write_graph(graph, model.state_dict(), "f32", tmp_path)
    before = added(tmp_path)
    inputs = photos(8, 64)
    logger, others = logging.getLogger("nncf"), logging.NullHandler()
    logger.addHandler(others)
    write_graph(
        quantise(graph, [each[None] for each in inputs]), model.state_dict(), "int8", tmp_path
    )
    logger.removeHandler(others)
    assert (logger.level, others.level) == (logging.ERROR, logging.NOTSET)
    weights = sum(value.numel() * 4 for value in model.state_dict().values())
    assert added(tmp_path) - before < 0.1 * weights + 400_000
    with torch.inference_mode():
        expected = model(inputs)
    got = answers(tmp_path, model, "int8", inputs)
    assert not torch.equal(got, expected)
    torch.testing.assert_close(got, expected, atol=0.15 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("missing", range(3))
def test_a_graph_that_is_not_whole_is_refused_by_name(missing: int, tmp_path: Path) -> None:
    model, _ = folded("cnn")
    write_graph(convert(model, (128, 128)), model.state_dict(), "f32", tmp_path)
    (tmp_path / graph_files("f32")[missing]).unlink()
    with pytest.raises(GraphError, match=r"network\.xml: .*network"):
        OpenVinoEngine(tmp_path, model.state_dict(), "f32", 1)


def test_a_graph_of_other_parameters_is_refused(tmp_path: Path) -> None:
    model, _ = folded("bit")
    write_graph(convert(model, (64, 64)), model.state_dict(), "f32", tmp_path)
    others = {name: value for name, value in model.state_dict().items() if "head" not in name}
    with pytest.raises(GraphError, match="head"):
        OpenVinoEngine(tmp_path, others, "f32", 1)


@pytest.mark.parametrize("module", ["handlers.engines", "training.conversion"])
def test_nothing_is_reported_to_anybody(module: str) -> None:
    code = (
        f"import sys, {module};"
        "from handlers.openvino_engine import openvino_module;"
        "openvino_module().convert_model;"
        "print(sorted(name for name in sys.modules if name.startswith('openvino_telemetry.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
