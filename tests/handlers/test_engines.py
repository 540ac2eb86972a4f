from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from handlers import engines
from handlers.bundle import Bundle, GoldenSet, load_bundle
from handlers.config import HandlerConfig, Precision
from handlers.engines import TorchEngine, choose_engine, set_threads


@pytest.fixture(scope="module")
def bundle(sealed_model_dir: Path) -> Bundle:
    return load_bundle(sealed_model_dir)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def wrong_by(bundle: Bundle, amount: float) -> Bundle:
    logits = bundle.golden.logits.clone()
    logits[0, 0] += amount
    return dataclasses.replace(bundle, golden=GoldenSet(bundle.golden.inputs, logits))


def test_float32_gives_the_model_s_own_logits(bundle: Bundle) -> None:
    engine = TorchEngine(bundle.model, "float32")
    logits = engine.logits(bundle.golden.inputs)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, bundle.golden.logits)
    assert torch.equal(logits, engine.logits(bundle.golden.inputs))


def test_bfloat16_leaves_the_float32_model_as_it_was(bundle: Bundle) -> None:
    engine = TorchEngine(bundle.model, "bfloat16")
    logits = engine.logits(bundle.golden.inputs)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, bundle.golden.logits)
    torch.testing.assert_close(logits, bundle.golden.logits, atol=0.1, rtol=0.05)
    assert {parameter.dtype for parameter in bundle.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_asked_for_is_kept_where_the_golden_set_agrees(
    bundle: Bundle, precision: Precision, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose_engine(bundle, HandlerConfig(precision=precision)).precision == precision
    assert not caplog.records


class TooCoarse(TorchEngine):
    """A reduced precision that is badly wrong."""

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        super().__init__(model, precision)
        self.wrong = 0.0 if precision == "float32" else 3.0

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        return super().logits(batch) + self.wrong * torch.eye(6)[2]


def test_a_reduced_precision_that_disagrees_falls_back_to_float32(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines, "TorchEngine", TooCoarse)
    with caplog.at_level(logging.WARNING):
        engine = choose_engine(bundle, HandlerConfig(precision="bfloat16"))
    assert engine.precision == "float32"
    (record,) = caplog.records
    assert "bfloat16 fails the golden set" in record.getMessage()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_that_is_not_the_golden_one_is_refused(
    bundle: Bundle, precision: Precision
) -> None:
    with pytest.raises(RuntimeError, match=r"golden set: logits differ by 5.*refusing to serve"):
        choose_engine(wrong_by(bundle, 5.0), HandlerConfig(precision=precision))


def test_the_float32_tolerance_grows_with_the_logits(bundle: Bundle) -> None:
    scale = max(1.0, float(bundle.golden.logits.abs().max()))
    choose_engine(wrong_by(bundle, 0.0009 * scale), HandlerConfig())
    with pytest.raises(RuntimeError, match="logits differ"):
        choose_engine(wrong_by(bundle, 0.0012 * scale), HandlerConfig())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_a_disagreement(bundle: Bundle, bad: float) -> None:
    with pytest.raises(RuntimeError, match="golden set: logits that are not finite"):
        choose_engine(wrong_by(bundle, bad), HandlerConfig())
    broken = TorchEngine(bundle.model, "float32")
    broken._model = lambda batch: torch.full((len(batch), 6), bad)  # type: ignore[assignment]
    assert engines._disagreement(broken, bundle.golden, 1.0) == "logits that are not finite"


def test_threads_are_those_asked_for_or_those_there_are(
    threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set_threads(3) == 3
    assert torch.get_num_threads() == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {4, 7})
    assert set_threads(0) == 2
    assert torch.get_num_threads() == 2
