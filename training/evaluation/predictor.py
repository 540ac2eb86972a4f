"""What evaluation asks for answers, be it a run, an archive or a running service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from handlers.bundle import UnsureScore

Kind = Literal["run", "archive", "service"]


class EvaluationError(Exception):
    """This model cannot be evaluated on these photos; the message says why, and what can be."""


@dataclass(frozen=True)
class ModelDescription:
    """What a model says of itself.

    Attributes:
        source: the run folder, the archive or the address, as it was given.
        version: None for a run, which gets one when it is archived.
        classes: names in the order of the logits.
        temperature: the network's logits are divided by it before the softmax; None where it is not
            known.
        unsure_score: what the threshold is about; None where it is not known.
        data: the model card's, with what is needed to split the photos again.
        sure_precision: see `Run`; None where it is not stated.
        precisions_by: the parts of the split whose photos decided whether less than float32 is
            used.
        has_logits: False where the logits of an answer are but the logs of its probabilities, which
            other scores than the probability cannot be computed from.
        remarks: for whoever reads the figures, a sentence each.
    """

    kind: Kind
    source: str
    name: str
    version: str | None
    classes: tuple[str, ...]
    temperature: float | None
    unsure_score: UnsureScore | None
    unsure_threshold: float
    data: Mapping[str, Any]
    git_sha: str | None
    has_logits: bool = True
    remarks: tuple[str, ...] = ()
    sure_precision: float | None = None
    precisions_by: frozenset[str] = frozenset()

    @property
    def divisor(self) -> float:
        """What an answer's logits are divided by before the softmax."""
        return self.temperature if self.has_logits and self.temperature else 1.0


@dataclass(frozen=True)
class Answered:
    """One photo's answer: float32 logits (classes,), and whether the model calls it unsure.

    The softmax of the logits, divided by the model's `divisor`, gives the probabilities.
    """

    logits: Tensor
    unsure: bool


@dataclass(frozen=True)
class Refused:
    """A photo without an answer, such as one that does not decode, and why."""

    why: str


class Predictor(Protocol):
    """Answers photos."""

    @property
    def model(self) -> ModelDescription:
        """Whose answers these are."""

    def predict(self, photos: Sequence[bytes]) -> list[Answered | Refused]:
        """One answer for each encoded photo, in order.

        Raises:
            EvaluationError: the source fails, rather than one photo.
        """
