"""What turns input tensors into logits, and the self-test that it must pass.

Reduced precision is a wish: `choose_engine` runs the archive's golden photos through the engine
that was asked for, falls back to float32 where the answers differ, and refuses to serve where
even float32 does not give what the model gave when it was trained.
"""

from __future__ import annotations

import copy
import logging
import os
from typing import Protocol

import torch
from torch import nn

from handlers.bundle import Bundle, GoldenSet
from handlers.config import HandlerConfig, Precision

logger = logging.getLogger(__name__)

# Machines order the sums of a convolution differently, which moves float32 logits by some 1e-5
# of their size; a wrong weight or preprocessing moves them by far more than this.
FLOAT32_TOLERANCE = 1e-3
# bfloat16 keeps 8 bits of a number. What counts is the answer: the same breed, and probabilities
# that differ by less than a person would act on.
REDUCED_PROBABILITY_TOLERANCE = 0.05

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class GoldenSetError(RuntimeError):
    """Float32 does not give the golden logits: this is not the model that was trained."""


class Engine(Protocol):
    """Computes logits. Engines are deterministic: the same batch gives the same logits."""

    @property
    def precision(self) -> Precision:
        """Of the arithmetic; inputs and logits are always float32."""

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits of a batch.

        Args:
            batch: float32 (N, 3, height, width), preprocessed, N at least 1.

        Returns:
            float32 (N, classes).
        """


class TorchEngine:
    """PyTorch on the CPU, channels last.

    bfloat16 casts the weights once instead of using autocast, which would cast all of them
    again for every batch and keep float32 between the layers: half the memory traffic is what
    reduced precision is for. What it costs in accuracy the golden set judges.
    """

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        """Take a float32 model in evaluation mode; it is copied where the precision differs."""
        self.precision: Precision = precision
        self._dtype = _DTYPES[precision]
        if precision != "float32":
            model = copy.deepcopy(model).to(self._dtype)
        self._model = model

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """See `Engine.logits`."""
        with torch.inference_mode():
            batch = batch.to(self._dtype, memory_format=torch.channels_last)
            logits: torch.Tensor = self._model(batch)
            return logits.float()


def set_threads(threads: int) -> int:
    """Let one inference use so many threads; 0: the cores that this process may run on.

    `os.cpu_count()` would count cores that a container or taskset has taken away.
    """
    threads = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    return threads


def choose_engine(bundle: Bundle, config: HandlerConfig) -> Engine:
    """The engine of the configuration, or a float32 one where it fails the golden set.

    Raises:
        GoldenSetError: float32 disagrees with the golden set too.
    """
    engine = TorchEngine(bundle.model, config.precision)
    disagreement = _disagreement(engine, bundle.golden, bundle.temperature)
    if disagreement and config.precision != "float32":
        logger.warning(
            "%s fails the golden set (%s); serving in float32", config.precision, disagreement
        )
        engine = TorchEngine(bundle.model, "float32")
        disagreement = _disagreement(engine, bundle.golden, bundle.temperature)
    if disagreement:
        raise GoldenSetError(f"golden set: {disagreement}; refusing to serve")
    return engine


def _disagreement(engine: Engine, golden: GoldenSet, temperature: float) -> str | None:
    """In words how an engine differs from the golden logits; None where it does not."""
    logits = engine.logits(golden.inputs)
    expected = golden.logits
    if logits.shape != expected.shape:
        return f"logits of shape {tuple(logits.shape)}, {tuple(expected.shape)} expected"
    # In the reference as well: an infinite one would make the tolerance infinite.
    if not (logits.isfinite().all() and expected.isfinite().all()):
        return "logits that are not finite"
    if engine.precision == "float32":
        tolerance = FLOAT32_TOLERANCE * max(1.0, float(expected.abs().max()))
        difference = float((logits - expected).abs().max())
        if difference > tolerance:
            return f"logits differ by {difference:.3g}, {tolerance:.3g} is allowed"
        return None
    if not torch.equal(logits.argmax(1), expected.argmax(1)):
        return "another class on top"
    ours, theirs = ((values / temperature).softmax(1) for values in (logits, expected))
    difference = float((ours - theirs).abs().max())
    if difference > REDUCED_PROBABILITY_TOLERANCE:
        return (
            f"probabilities differ by {difference:.3g}, {REDUCED_PROBABILITY_TOLERANCE} is allowed"
        )
    return None
