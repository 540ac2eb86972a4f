from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from handlers import engines
from handlers.bundle import Bundle, GoldenSet, load_bundle
from handlers.checksums import SHARED_FOLDER, verify_checksums
from handlers.config import EngineName, HandlerConfig, Precision
from handlers.engines import Machine, choose_engine
from handlers.openvino_engine import OpenVinoEngine, supported_precisions
from handlers.torch_engines import InductorEngine, TorchEngine
from tests.handlers.conftest import seal
from training.conversion import convert, quantise, write_graph

GOOD_ENOUGH = {
    "bf16": {"top1_agreement": 0.995, "photos": 200},
    "int8": {"top1_agreement": 0.99, "photos": 200},
}


@pytest.fixture(scope="module")
def bundle(sealed_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny model with its graphs, and a card that allows every precision."""
    folder = tmp_path_factory.mktemp("converted") / "tiny"
    shutil.copytree(sealed_model_dir, folder)
    loaded = load_bundle(folder)
    graph = convert(loaded.model, loaded.preprocessing.size)
    write_graph(graph, loaded.model.state_dict(), "f32", folder)
    quantised = quantise(graph, [photo[None] for photo in loaded.golden.inputs])
    write_graph(quantised, loaded.model.state_dict(), "int8", folder)
    return with_precisions(load_bundle(folder), GOOD_ENOUGH)


def with_precisions(bundle: Bundle, precisions: Mapping[str, Any]) -> Bundle:
    return dataclasses.replace(bundle, card={**bundle.card, "precisions": precisions})


def wrong_by(bundle: Bundle, amount: float) -> Bundle:
    logits = bundle.golden.logits.clone()
    logits[0, 0] += amount
    return dataclasses.replace(bundle, golden=GoldenSet(bundle.golden.inputs, logits))


def chosen(bundle: Bundle, **settings: Any) -> tuple[EngineName, Precision]:  # noqa: ANN401
    engine = choose_engine(bundle, HandlerConfig(**settings), Machine())
    return engine.name, engine.precision


def test_float32_gives_the_model_s_own_logits(bundle: Bundle) -> None:
    engine = TorchEngine(bundle.model, "f32")
    logits = engine.logits(bundle.golden.inputs)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, bundle.golden.logits)
    assert torch.equal(logits, engine.logits(bundle.golden.inputs))


def test_bf16_leaves_the_float32_model_as_it_was(bundle: Bundle) -> None:
    engine = TorchEngine(bundle.model, "bf16")
    logits = engine.logits(bundle.golden.inputs)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, bundle.golden.logits)
    torch.testing.assert_close(logits, bundle.golden.logits, atol=0.1, rtol=0.05)
    assert {parameter.dtype for parameter in bundle.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("photos", [1, 2, 5])
@pytest.mark.parametrize("precision", supported_precisions())
def test_openvino_gives_pytorch_s_answer_for_any_batch(
    bundle: Bundle, precision: Precision, photos: int
) -> None:
    batch = torch.rand(photos, 3, 32, 32, generator=torch.Generator().manual_seed(photos)) * 2 - 1
    engine = OpenVinoEngine(bundle.folder, bundle.model.state_dict(), precision, threads=1)
    first = engine.logits(batch)
    expected = TorchEngine(bundle.model, "f32").logits(batch)
    tolerance = {"f32": 1e-5, "bf16": 0.05, "int8": 0.3}[precision] * float(expected.abs().max())
    torch.testing.assert_close(first, expected, atol=tolerance, rtol=0)
    kept = first.clone()
    engine.logits(batch.flip(0) * 0.5)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("photos", [1, 3, 4, 9])
def test_inductor_gives_pytorch_s_answer_for_any_batch(
    inductor: InductorEngine, bundle: Bundle, photos: int
) -> None:
    batch = torch.rand(photos, 3, 32, 32, generator=torch.Generator().manual_seed(photos))
    expected = TorchEngine(bundle.model, "f32").logits(batch)
    torch.testing.assert_close(inductor.logits(batch), expected, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def inductor(bundle: Bundle) -> InductorEngine:
    """Compiled for at most four photos, as for a GPU that there is not."""
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    return InductorEngine(bundle.model, "f32", torch.device("cpu"), (4, 3, 32, 32))


def test_openvino_is_chosen_where_the_archive_has_its_graph(bundle: Bundle, tmp_path: Path) -> None:
    fastest = supported_precisions()[0]
    assert chosen(bundle) == ("openvino", fastest)
    shutil.copytree(bundle.folder, tmp_path / "tiny", ignore=shutil.ignore_patterns("openvino"))
    without = dataclasses.replace(bundle, folder=tmp_path / "tiny")
    assert chosen(without) == ("torch", "f32")
    assert chosen(bundle, engine="torch") == ("torch", "f32")


@pytest.mark.parametrize("precision", ["f32", "bf16", "int8"])
def test_the_precision_asked_for_is_kept_where_card_and_golden_set_agree(
    bundle: Bundle, precision: Precision, caplog: pytest.LogCaptureFixture
) -> None:
    if precision not in supported_precisions():
        pytest.skip(f"this CPU has no {precision}")
    assert chosen(bundle, precision=precision) == ("openvino", precision)
    assert not caplog.records


@pytest.mark.parametrize(
    ("recorded", "told"),
    [
        ({}, "0.0000 on 0 photos"),
        ({"bf16": {"top1_agreement": 0.9949, "photos": 1000}}, "0.9949 on 1000 photos"),
        ({"bf16": {"top1_agreement": 1.0, "photos": 199}}, "1.0000 on 199 photos"),
        ({"int8": {"top1_agreement": 1.0, "photos": 1000}}, "0.0000 on 0 photos"),
    ],
)
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_precision_that_the_card_does_not_vouch_for_is_not_used(
    bundle: Bundle,
    engine: EngineName,
    recorded: dict[str, Any],
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if "bf16" not in supported_precisions():
        pytest.skip("this CPU has no bf16")
    unknown = with_precisions(bundle, recorded)
    assert chosen(unknown, engine=engine, precision="bf16") == (engine, "f32")
    (record,) = caplog.records
    assert told in record.getMessage()
    assert "0.995 on 200 are needed" in record.getMessage()


def test_what_the_card_does_not_vouch_for_is_passed_over_in_silence_by_auto(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    assert chosen(with_precisions(bundle, {})) == ("openvino", "f32")
    assert not caplog.records


class TooCoarse(OpenVinoEngine):
    """Reduced precision that is badly wrong."""

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        wrong = 0.0 if self.precision == "f32" else 3.0
        return super().logits(batch) + wrong * torch.eye(6)[2]


def test_reduced_precision_that_fails_the_golden_set_falls_back_to_float32(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines, "OpenVinoEngine", TooCoarse)
    assert chosen(bundle) == ("openvino", "f32")
    reduced = supported_precisions()[:-1]
    assert len(caplog.records) == len(reduced)
    for record, precision in zip(caplog.records, reduced, strict=True):
        assert f"openvino in {precision} fails the golden set" in record.getMessage()


class Wrong(OpenVinoEngine):
    """Wrong in every precision, as a graph of another model would be."""

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        return super().logits(batch) + 3.0 * torch.eye(6)[2]


def test_an_engine_that_is_wrong_even_in_float32_gives_way_to_pytorch(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "OpenVinoEngine", Wrong)
    assert chosen(bundle) == ("torch", "f32")


@pytest.mark.parametrize("error", [ImportError, RuntimeError, ValueError])
@pytest.mark.parametrize("name", ["supported_precisions", "OpenVinoEngine"])
def test_an_engine_that_cannot_be_used_gives_way_to_pytorch(
    bundle: Bundle,
    name: str,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """OpenVINO that is not installed or does not import, and whatever else it may raise."""

    def fail(*_: object) -> None:
        raise error("the reason")

    monkeypatch.setattr(engines, name, fail)
    assert chosen(bundle) == ("torch", "f32")
    assert all("the reason" in record.getMessage() for record in caplog.records)
    assert caplog.records


class Breaks(OpenVinoEngine):
    """Computes nothing."""

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("the reason")


def test_an_engine_that_fails_in_its_self_test_gives_way_to_pytorch(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "OpenVinoEngine", Breaks)
    assert chosen(bundle) == ("torch", "f32")


def test_a_damaged_graph_gives_way_to_pytorch(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "tiny"))
    (folder / "openvino" / "network.xml").write_text("<net>")
    damaged = dataclasses.replace(bundle, folder=folder)
    assert chosen(damaged, precision="f32") == ("torch", "f32")
    (record,) = caplog.records
    assert "openvino in f32 cannot be used: network.xml" in record.getMessage()


@pytest.mark.parametrize("precision", ["f32", "bf16", "int8", "auto"])
@pytest.mark.parametrize("engine", ["torch", "openvino", "auto"])
def test_a_model_that_is_not_the_golden_one_is_refused(
    bundle: Bundle, engine: str, precision: str
) -> None:
    with pytest.raises(RuntimeError, match=r"golden set: logits differ by 5.*refusing to serve"):
        chosen(wrong_by(bundle, 5.0), engine=engine, precision=precision)


def test_the_float32_tolerance_grows_with_the_logits(bundle: Bundle) -> None:
    scale = max(1.0, float(bundle.golden.logits.abs().max()))
    chosen(wrong_by(bundle, 0.0009 * scale), precision="f32")
    with pytest.raises(RuntimeError, match="logits differ"):
        chosen(wrong_by(bundle, 0.0012 * scale), precision="f32")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_a_disagreement(bundle: Bundle, bad: float) -> None:
    with pytest.raises(RuntimeError, match="golden set: logits that are not finite"):
        chosen(wrong_by(bundle, bad))

    class Broken(nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return torch.full((len(batch), 6), bad)

    broken = TorchEngine(Broken(), "f32")
    assert engines._disagreement(broken, bundle.golden, 1.0) == "logits that are not finite"


def test_workers_share_one_file_of_weights(bundle: Bundle, tmp_path: Path) -> None:
    """Whichever loads first writes it; it is no part of the archive, whose checksums still hold."""
    ignored = shutil.ignore_patterns(SHARED_FOLDER)
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "tiny", ignore=ignored))
    seal(folder)
    moved = dataclasses.replace(bundle, folder=folder)
    config = HandlerConfig(precision="f32")
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: choose_engine(moved, config, Machine()), range(4)))
    weights = folder / SHARED_FOLDER / "network.weights"
    files = {path.name for path in (folder / SHARED_FOLDER).iterdir()}
    assert files == {"lock", weights.name}
    verify_checksums(folder)
    logits = [engine.logits(bundle.golden.inputs) for engine in made]
    assert all(torch.equal(logits[0], each) for each in logits)
    mapped = Path("/proc/self/maps").read_text()
    assert str(weights) in mapped
    assert f"{weights} (deleted)" not in mapped


def test_a_released_network_comes_back_when_it_is_wanted(bundle: Bundle) -> None:
    before = bundle.model
    bundle.release_network()
    after = bundle.model
    assert after is not before
    assert after is bundle.model
    torch.testing.assert_close(after.state_dict(), before.state_dict())
