"""The whole of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as shorten
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, MinLen
from pydantic import Field, PlainSerializer, PlainValidator, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from handlers.preprocessing import Preprocessing
from training.data.layouts import LayoutName
from training.models import ArchitectureName
from training.spec.augmentation import AugmentationSpec, NoCrop, RandomCrop
from training.spec.base import (
    MODEL_NAME,
    Count,
    Fraction,
    NotNegative,
    Seed,
    Share,
    Strict,
    Table,
    frozen,
)
from training.spec.phase import PhaseSpec
from training.weights import WEIGHTS

Metric = Literal["top1", "top5", "balanced_accuracy", "loss"]


class ArchitectureSpec(Strict):
    """A module of `training.models`, the arguments of its `build`, and where weights come from.

    Attributes:
        weights: a file of `training.weights` for this architecture, that everything but the head
            is loaded from; "none": random, as `build` leaves them.
    """

    file: ArchitectureName
    options: Table = Field(default_factory=lambda: frozen({}))
    weights: str = "none"


class DataSpec(Strict):
    """How photos are found and split.

    Attributes:
        validation: share of each class that decides on checkpoint, temperature and threshold.
        test: share of each class that nothing is decided on; a layout with a test set of its own
            ignores it. 0: figures are those of the validation photos, and say so.
        seed: of the split.
    """

    layout: LayoutName
    validation: Share
    test: Fraction
    seed: Seed

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation {self.validation} and test {self.test} together must be less than 1"
            )
        return self


class TrainingSpec(Strict):
    """The optimisation.

    Attributes:
        batch_size: photos in one step, of all processes together.
        micro_batch: photos that one process takes at once; gradients add up to `batch_size`.
        precision: "auto": bfloat16 on a GPU that has it, else float32.
        imbalance: "balanced-sampling": each class is drawn as often; "logit-adjustment": Menon et
            al. 2021, https://arxiv.org/abs/2007.07314, the log of a class's share is added to its
            logit while training.
        label_smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567.
        metric: of the validation photos; the best checkpoint by it is kept.
        evaluate_every: steps; 0: once an epoch.
        early_stop: evaluations without a better one after which a phase ends; 0: never.
        clip_norm: gradients are scaled down to this norm; 0: never.
        checkpoint_minutes: at least so often all is saved that `--resume` needs; 0: each step.
        cache_photos: keep each photo as evaluation sees it in a file, so that it is decoded once;
            only where nothing but the evaluation's own crop is shown.
        seed: of initialisation, order and augmentation.
    """

    batch_size: Count
    micro_batch: Count
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    imbalance: Literal["none", "balanced-sampling", "logit-adjustment"] = "none"
    label_smoothing: Fraction = 0.0
    metric: Metric = "top1"
    evaluate_every: Annotated[int, Ge(0)] = 0
    early_stop: Annotated[int, Ge(0)] = 0
    clip_norm: NotNegative = 0.0
    checkpoint_minutes: NotNegative = 5.0
    cache_photos: bool = False
    seed: Seed
    phases: Annotated[tuple[PhaseSpec, ...], MinLen(1), Field(strict=False)]


class CardSpec(Strict):
    """What the model card says in words, and what `unsure` stands for.

    Attributes:
        unsure_score: what decides that an answer is unsure, see `handlers.predictions`.
        sure_precision: of the validation answers that are not called unsure, at least this share
            is right.
    """

    unsure_score: Literal["probability", "max-logit", "energy"]
    sure_precision: Share
    intended_use: str
    limitations: tuple[str, ...] = Field(strict=False)
    licence_notes: tuple[str, ...] = Field(strict=False)


def _preprocessing(value: object) -> Preprocessing:
    if isinstance(value, Preprocessing):
        return value
    if not isinstance(value, Mapping):
        raise PydanticCustomError("dict_type", "Input should be a table of keys")
    try:
        # TOML has no null: a recipe without the key does not crop.
        return Preprocessing.from_dict({"crop": None, **value})
    except ValueError as error:
        # The key, which is said before it, says that as well.
        raise ValueError(str(error).removeprefix("preprocessing: ")) from error


def _preprocessing_table(value: Preprocessing) -> dict[str, Any]:
    return {key: each for key, each in value.to_dict().items() if each is not None}


class Recipe(Strict):
    """See the comments in `training/recipes/*.toml`.

    Attributes:
        name: what the model is called when it is served.
        summary: one line for `catbreeds recipes`.
    """

    name: Annotated[str, StringConstraints(pattern=MODEL_NAME)]
    summary: str
    architecture: ArchitectureSpec
    preprocessing: Annotated[
        Preprocessing, PlainValidator(_preprocessing), PlainSerializer(_preprocessing_table)
    ]
    data: DataSpec
    augmentation: AugmentationSpec
    training: TrainingSpec
    card: CardSpec

    @model_validator(mode="after")
    def _can_be_served(self) -> Self:
        if self.name.startswith("token"):
            # TorchServe takes every path with "/token" in it for one of a token.
            raise ValueError(f"name {self.name!r}: must not begin with token")
        return self

    @model_validator(mode="after")
    def _begins_with_weights_that_fit(self) -> Self:
        network, weights = self.architecture.file, self.architecture.weights
        fitting = [name for name, each in WEIGHTS.items() if each.architecture == network]
        if weights not in ("none", *fitting):
            raise ValueError(
                f"architecture.weights = {shorten(weights)}: "
                f"must be {' or '.join(('none', *fitting))}, as the network is {network}"
            )
        return self

    @model_validator(mode="after")
    def _augments_within_reason(self) -> Self:
        spec, size = self.augmentation, self.preprocessing.size
        if self.training.cache_photos and not isinstance(spec.crop, NoCrop):
            raise ValueError("training.cache_photos needs augmentation.crop of the kind none")
        if spec.mixup and self.training.micro_batch == 1:
            raise ValueError(
                f"augmentation.mixup = {spec.mixup!r}: must be 0.0 with a micro_batch of 1, as "
                "photos are blended with others of their micro-batch"
            )
        if isinstance(spec.crop, RandomCrop):
            height, width = size
            if spec.crop.resize[0] < height or spec.crop.resize[1] < width:
                raise ValueError(
                    f"augmentation.crop.resize = {list(spec.crop.resize)}: at least the input's "
                    f"[{height}, {width}] is allowed"
                )
        shortest = min(spec.size(size))
        if spec.shift > shortest:
            raise ValueError(
                f"augmentation.shift = {spec.shift}: at most {shortest}, the shorter side of what "
                "is trained on, is allowed"
            )
        return self
