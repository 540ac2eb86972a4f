"""What turns input tensors into logits, and what it must pass before it serves.

Speed is a wish, the right answer is a condition. Reduced precision is used only where the model
card says that it gave the same top class as float32 often enough on photos that the model had not
learned from; and whatever engine is chosen must reproduce the archive's golden set when it is
loaded. One that does not gives way to the next, the last of which is PyTorch in float32: where even
that does not give what the model gave when it was trained, nothing is served.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from handlers.bundle import Bundle, GoldenSet
from handlers.config import EngineName, HandlerConfig, Precision
from handlers.network import BundleError
from handlers.openvino_engine import OpenVinoEngine, graph_files, supported_precisions
from handlers.torch_engines import InductorEngine, TorchEngine

logger = logging.getLogger(__name__)

# Machines order the sums of a convolution differently, which moves float32 logits by some 1e-5
# of their size; a wrong weight or preprocessing moves them by far more than this.
FLOAT32_TOLERANCE = 1e-3
# Of a probability, in reduced precision. What counts is the answer: the same breed, and
# probabilities that differ by less than a person would act on.
REDUCED_PROBABILITY_TOLERANCE = 0.05
# Share of photos whose top class must be that of float32, by the model card; and of how many.
LEAST_AGREEMENT: dict[Precision, float] = {"bf16": 0.995, "int8": 0.99}
FEWEST_PHOTOS = 200


class GoldenSetError(RuntimeError):
    """Float32 does not give the golden logits: this is not the model that was trained."""


class Engine(Protocol):
    """Computes logits. Engines are deterministic: the same batch gives the same logits."""

    @property
    def name(self) -> EngineName:
        """What computes."""

    @property
    def precision(self) -> Precision:
        """Of the arithmetic; inputs and logits are always float32."""

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits of a batch.

        Args:
            batch: float32 (N, 3, height, width), preprocessed, contiguous, N at least 1.

        Returns:
            float32 (N, classes), on the CPU.
        """


@dataclass(frozen=True)
class Machine:
    """What an engine may use.

    Attributes:
        threads: of one inference on the CPU.
        gpu: index of the worker's GPU; None: it has none.
        batch_size: the most photos that go through the network at once.
    """

    threads: int = 1
    gpu: int | None = None
    batch_size: int = 1


def set_threads(threads: int) -> None:
    """So many threads for PyTorch's operators, which explanations use with any engine."""
    torch.set_num_threads(threads)


def choose_engine(bundle: Bundle, config: HandlerConfig, machine: Machine) -> Engine:
    """The fastest engine that the configuration, the card and the golden set allow.

    Raises:
        GoldenSetError: float32 on PyTorch disagrees with the golden set, too.
    """
    for name in _engines(bundle, config, machine):
        try:
            precisions = _precisions_to_try(name, bundle, config, machine)
        except Exception as error:
            logger.warning("%s cannot be used: %s", name, error)
            continue
        for precision in precisions:
            # Libraries that compile a network raise nearly anything where they cannot.
            try:
                engine = _BUILDERS[name](bundle, precision, machine)
                disagreement = _disagreement(engine, bundle.golden, bundle.temperature)
            except BundleError:
                raise
            except Exception as error:
                logger.warning("%s in %s cannot be used: %s", name, precision, error)
                continue
            if disagreement is None:
                return engine
            if (name, precision) == ("torch", "f32"):
                raise GoldenSetError(f"golden set: {disagreement}; refusing to serve")
            logger.warning("%s in %s fails the golden set (%s)", name, precision, disagreement)
    raise GoldenSetError("golden set: no engine can be used; refusing to serve")


def is_vouched_for(precision: Precision, agreement: float, photos: int) -> bool:
    """Whether that much top-1 agreement with float32, on so many photos, allows a precision."""
    return photos >= FEWEST_PHOTOS and agreement >= LEAST_AGREEMENT[precision]


def _engines(bundle: Bundle, config: HandlerConfig, machine: Machine) -> list[EngineName]:
    """What to try in turn; PyTorch is always the last."""
    converted = (bundle.folder / graph_files("f32")[0]).exists()
    names: list[EngineName] = []
    if config.engine != "auto":
        names.append(config.engine)
    elif machine.gpu is not None:
        names.append("inductor")
    if converted and config.engine != "torch":
        names.append("openvino")
    return list(dict.fromkeys([*names, "torch"]))


def _precisions_to_try(
    name: EngineName, bundle: Bundle, config: HandlerConfig, machine: Machine
) -> list[Precision]:
    """Of one engine, in turn, f32 last."""
    able = _precisions(name, machine)
    asked: tuple[Precision, ...]
    if config.precision != "auto":
        asked = (config.precision, "f32")
    elif name == "torch":
        asked = ("f32",)  # the reference; whether bf16 would be faster depends on the CPU
    else:
        asked = able
    wanted: list[Precision] = []
    for precision in dict.fromkeys(asked):
        if precision not in able:
            logger.warning("precision %s: not what %s can do here; next: f32", precision, name)
        elif _is_allowed(bundle, precision, quietly=config.precision == "auto"):
            wanted.append(precision)
    return wanted


def _precisions(name: EngineName, machine: Machine) -> tuple[Precision, ...]:
    """What an engine can do on this machine, the fastest first and f32 last."""
    if name == "openvino":
        return supported_precisions()
    # Emulated, it would be slower than float32.
    if machine.gpu is not None and not torch.cuda.is_bf16_supported(including_emulation=False):
        return ("f32",)
    return ("bf16", "f32")


def _is_allowed(bundle: Bundle, precision: Precision, *, quietly: bool) -> bool:
    """Whether the card vouches for a precision."""
    if precision == "f32":
        return True
    agreement, photos = bundle.agreement(precision)
    if is_vouched_for(precision, agreement, photos):
        return True
    if not quietly:
        logger.warning(
            "%s is not used: the model card records a top-1 agreement with f32 of %.4f on %d "
            "photos; %s on %d are needed",
            precision,
            agreement,
            photos,
            LEAST_AGREEMENT[precision],
            FEWEST_PHOTOS,
        )
    return False


def _torch(bundle: Bundle, precision: Precision, _machine: Machine) -> Engine:
    return TorchEngine(bundle.model, precision)


def _openvino(bundle: Bundle, precision: Precision, machine: Machine) -> Engine:
    return OpenVinoEngine(bundle.folder, bundle.model.state_dict(), precision, machine.threads)


def _inductor(bundle: Bundle, precision: Precision, machine: Machine) -> Engine:
    device = torch.device("cpu") if machine.gpu is None else torch.device("cuda", machine.gpu)
    shape = (machine.batch_size, *bundle.golden.inputs.shape[1:])
    return InductorEngine(bundle.model, precision, device, shape)


_BUILDERS: dict[EngineName, Callable[[Bundle, Precision, Machine], Engine]] = {
    "torch": _torch,
    "openvino": _openvino,
    "inductor": _inductor,
}


def _disagreement(engine: Engine, golden: GoldenSet, temperature: float) -> str | None:
    """In words how an engine differs from the golden logits; None where it does not."""
    logits = engine.logits(golden.inputs)
    expected = golden.logits
    if logits.shape != expected.shape:
        return f"logits of shape {tuple(logits.shape)}, {tuple(expected.shape)} expected"
    # In the reference as well: an infinite one would make the tolerance infinite.
    if not (logits.isfinite().all() and expected.isfinite().all()):
        return "logits that are not finite"
    if engine.precision == "f32":
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
