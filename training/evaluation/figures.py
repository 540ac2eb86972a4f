"""What an evaluation finds: frozen, and JSON by `dataclasses.asdict`. Shares are in 0..1.

Every text in it can be printed: see `training.evaluation.names`.
"""

from __future__ import annotations

from dataclasses import dataclass

from handlers.bundle import UnsureScore
from training.evaluation.calibration import Bought, CurvePoint, ScoreComparison
from training.evaluation.metrics import Bin, ClassFigures
from training.evaluation.predictor import Kind


@dataclass(frozen=True)
class EvaluatedModel:
    """Whose figures these are; see `ModelDescription`."""

    kind: Kind
    source: str
    name: str
    version: str | None
    git_sha: str | None
    classes: tuple[str, ...]


@dataclass(frozen=True)
class EvaluatedData:
    """Which photos the figures are about.

    Attributes:
        part: test, validation, training or all.
        photos: answered; all figures are about these.
        not_answered: path -> why: files that do not decode, or whose photo was refused.
        split_hash: of the folder; None where it was not split.
        card_split_hash: of the photos that the model was trained with, as its card says.
        chose_precision: whether these photos, or some of them, decided that less than float32 may
            be used, or not.
    """

    folder: str
    layout: str
    part: str
    photos: int
    not_answered: dict[str, str]
    split_hash: str | None
    card_split_hash: str | None
    chose_precision: bool = False


@dataclass(frozen=True)
class Headline:
    """The figures to look at first.

    Attributes:
        top1_interval: of 95%, a bootstrap over the animals.
        top5: of all classes where there are fewer than five.
        macro_f1, balanced_accuracy: means over the classes that the photos show.
        majority_baseline: top-1 of always naming the folder's commonest class.
    """

    top1: float
    top1_interval: tuple[float, float]
    top5: float
    macro_f1: float
    balanced_accuracy: float
    majority_baseline: float


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities mean what they say.

    Attributes:
        temperature: None where the source does not tell it.
        error_before: expected calibration error of the logits as they are; None, as is `before`,
            for a service, whose answers hold probabilities.
        error_after: of the probabilities as they are answered.
    """

    temperature: float | None
    error_before: float | None
    error_after: float
    before: tuple[Bin, ...] | None
    after: tuple[Bin, ...]


@dataclass(frozen=True)
class Unsure:
    """What `unsure` buys on these photos.

    Attributes:
        score: None where the source does not tell it.
        bought: by the model's own threshold.
        curve: by any threshold of the model's score, or of the probability where the model's score
            cannot be computed from its answers (`curve_of`).
        sure_precision: the share of right answers among the sure ones that the threshold was chosen
            for, on the validation photos; None where the source does not tell it.
    """

    score: UnsureScore | None
    threshold: float
    bought: Bought
    curve_of: UnsureScore
    curve: tuple[CurvePoint, ...]
    sure_precision: float | None = None


@dataclass(frozen=True)
class Outside:
    """Photos of none of the classes.

    Attributes:
        unsure: share that the model calls unsure, as it should.
        comparison: None where no answer about the classes' own photos is right.
    """

    folder: str
    photos: int
    not_answered: dict[str, str]
    unsure: float
    comparison: ScoreComparison | None


@dataclass(frozen=True)
class ConfusedPair:
    """A common mistake; `examples` are paths, the most confident first."""

    label: str
    answer: str
    photos: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """All that the report shows.

    Attributes:
        made: when, in UTC.
        remarks: what a reader must know before believing a figure.
        classes: in the order of `model.classes`.
        confusion: photos by class and answer.
    """

    made: str
    model: EvaluatedModel
    data: EvaluatedData
    remarks: tuple[str, ...]
    headline: Headline
    calibration: Calibration
    unsure: Unsure
    outside: Outside | None
    pairs: tuple[ConfusedPair, ...]
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
