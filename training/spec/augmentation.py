"""How photos vary while training."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field

from training.spec.base import Fraction, NotNegative, Side, Strict


class NoCrop(Strict):
    """The evaluation's own resize and crop."""

    kind: Literal["none"]


class RandomCrop(Strict):
    """Resize both sides, then a window of the input's size anywhere, as BiT-HyperRule does it."""

    kind: Literal["random"]
    resize: tuple[Side, Side] = Field(strict=False)


class RandomResizedCrop(Strict):
    """A window of random area and aspect ratio (Szegedy et al. 2015), resized to the input.

    Attributes:
        area: smallest share of the photo that is shown.
        ratio: the most that width and height may differ from each other, as a factor.
        size: (height, width) to train at, where that is not the size of evaluation: a window shows
            things larger than the whole photo does, which a smaller size makes up for (Touvron et
            al. 2019, https://arxiv.org/abs/1906.06423), and trains faster.
    """

    kind: Literal["random-resized"]
    area: Annotated[float, Gt(0), Le(1)]
    ratio: Annotated[float, Ge(1)] = 4 / 3
    size: tuple[Side, Side] | None = Field(default=None, strict=False)


class AugmentationSpec(Strict):
    """How photos vary from epoch to epoch.

    Attributes:
        crop: what part of the photo.
        shift: the largest random shift in pixels of the input, edges repeated; at most the input's
            shorter side.
        rotation: degrees, either way.
        shear: degrees, either way.
        zoom: share by which a photo is enlarged or reduced at most.
        translate: share of the side that it is moved by at most; what is uncovered is black.
        flip: mirror half of the photos.
        brightness, contrast, colour: factors 1 - x to 1 + x.
        trivial_augment: Mueller and Hutter 2021, https://arxiv.org/abs/2103.10158.
        mixup: alpha of the Beta distribution (Zhang et al. 2018, https://arxiv.org/abs/1710.09412),
            0: none; "hyperrule": 0.1 from 20,000 photos on.
    """

    crop: Annotated[NoCrop | RandomCrop | RandomResizedCrop, Field(discriminator="kind")]
    shift: Annotated[int, Ge(0)] = 0
    rotation: Annotated[float, Ge(0), Le(180)] = 0.0
    shear: Annotated[float, Ge(0), Lt(90)] = 0.0
    zoom: Fraction = 0.0
    translate: Fraction = 0.0
    flip: bool = False
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    colour: Fraction = 0.0
    trivial_augment: bool = False
    mixup: NotNegative | Literal["hyperrule"] = 0.0

    def size(self, evaluated: tuple[int, int]) -> tuple[int, int]:
        """(height, width) to train at, where `evaluated` is that of evaluation."""
        own = self.crop.size if isinstance(self.crop, RandomResizedCrop) else None
        return own or evaluated
