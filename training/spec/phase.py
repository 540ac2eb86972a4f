"""One stretch of training: what, how long, by which optimiser and schedule."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from annotated_types import Ge
from pydantic import Field, model_validator

from training.spec.base import Count, Fraction, NotNegative, Positive, Share, Strict


class Sgd(Strict):
    """Stochastic gradient descent."""

    kind: Literal["sgd"]
    momentum: Fraction = 0.0
    nesterov: bool = False
    weight_decay: NotNegative = 0.0

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Adam(Strict):
    """Kingma and Ba 2015; weight decay as Loshchilov and Hutter 2019 have it (AdamW)."""

    kind: Literal["adam"]
    weight_decay: NotNegative = 0.0


class Constant(Strict):
    """The learning rate as it is."""

    kind: Literal["constant"]


class OneCycle(Strict):
    """Smith and Topin 2019, https://arxiv.org/abs/1708.07120: up, then down to nearly nothing.

    Attributes:
        warmup: share of the steps that rise to the peak.
    """

    kind: Literal["one-cycle"]
    warmup: Share


class Cosine(Strict):
    """A cosine from the learning rate to `floor`, and up again where the phase is longer.

    Attributes:
        half_period: epochs from top to floor; None: those of the phase.
    """

    kind: Literal["cosine"]
    floor: NotNegative = 0.0
    half_period: Count | None = None


class Steps(Strict):
    """Linear warm-up for so many steps, then divided by ten after each of `drops`."""

    kind: Literal["steps"]
    warmup: Annotated[int, Ge(0)]
    drops: tuple[Count, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if list(self.drops) != sorted(set(self.drops)):
            raise ValueError(f"drops = {list(self.drops)}: must rise")
        if self.drops and self.warmup > self.drops[0]:
            raise ValueError(
                f"warmup = {self.warmup}: at most the first of drops, {self.drops[0]}, is allowed"
            )
        return self


class HyperRule(Strict):
    """Number of steps, warm-up and drops by the number of photos: `training.fitting.hyperrule`."""

    kind: Literal["hyperrule"]


class PhaseSpec(Strict):
    """One stretch of training.

    Attributes:
        train: "head": the backbone is frozen, its batch normalisation too.
        epochs, steps: how long, one of the two; neither with the schedule "hyperrule".
        cached_views: for "head": the backbone runs once over so many views of each photo (the
            first as evaluation sees it, the others augmented) and the head learns from what came
            out, in seconds; 0: it runs anew for every photo of every epoch.
        backbone_factor: for "all": the backbone's learning rate is the head's times this.
        freeze_norm: for "all": keep the running statistics of batch normalisation as they are.
    """

    train: Literal["head", "all"]
    epochs: Count | None = None
    steps: Count | None = None
    cached_views: Annotated[int, Ge(0)] = 0
    learning_rate: Positive
    backbone_factor: Positive = 1.0
    freeze_norm: bool = False
    optimiser: Annotated[Sgd | Adam, Field(discriminator="kind")]
    schedule: Annotated[
        Constant | OneCycle | Cosine | Steps | HyperRule, Field(discriminator="kind")
    ]

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        given = (self.epochs is not None) + (self.steps is not None)
        if isinstance(self.schedule, HyperRule):
            if given:
                raise ValueError("the schedule hyperrule says how long; epochs and steps must go")
        elif given != 1:
            raise ValueError("one of epochs and steps is needed, and only one")
        return self

    @model_validator(mode="after")
    def _asks_for_nothing_in_vain(self) -> Self:
        if self.cached_views and self.train != "head":
            raise ValueError("cached_views is for train = 'head' only")
        # The backbone learns nothing then, and its norms stand still in any case.
        if self.train == "head" and self.backbone_factor != 1:
            raise ValueError("backbone_factor is for train = 'all' only")
        if self.train == "head" and self.freeze_norm:
            raise ValueError("freeze_norm is for train = 'all' only")
        schedule = self.schedule
        if isinstance(schedule, Cosine) and schedule.floor > self.learning_rate:
            raise ValueError(
                f"schedule.floor = {schedule.floor}: at most the learning_rate, "
                f"{self.learning_rate}, is allowed"
            )
        if isinstance(schedule, Steps) and self.steps is not None:
            places = {"warmup": schedule.warmup, "drops": max(schedule.drops, default=0)}
            for key, last in places.items():
                if last >= self.steps:
                    raise ValueError(
                        f"schedule.{key}: {last} is too late for steps = {self.steps}; "
                        f"at most {self.steps - 1} is allowed"
                    )
        return self
