"""How a photo varies from epoch to epoch; torchvision's transforms, put together by the recipe."""

from __future__ import annotations

from collections.abc import Callable

import torch
from PIL import Image
from torchvision.transforms import v2

from handlers.preprocessing import Preprocessing
from training.spec import AugmentationSpec, NoCrop, RandomCrop

_MODES = {
    "bilinear": v2.InterpolationMode.BILINEAR,
    "bicubic": v2.InterpolationMode.BICUBIC,
}
_TRIVIAL_BINS = 31

Crop = Callable[[Image.Image], Image.Image]


class Augmentation:
    """An upright RGB photo -> an RGB image of the size to train at, other at each seed."""

    def __init__(self, spec: AugmentationSpec, preprocessing: Preprocessing) -> None:
        """Put the transforms together; size and interpolation default to those of evaluation."""
        size = spec.size(preprocessing.size)
        self._crop = _crop(spec, size, preprocessing)
        self._vary = v2.Compose(_transforms(spec, size) or [v2.Identity()])

    def __call__(self, photo: Image.Image, seed: int) -> Image.Image:
        """The photo's view of that seed, the same on every machine."""
        return self.vary(self._seeded(self._crop, photo, seed), seed)

    def vary(self, shown: Image.Image, seed: int) -> Image.Image:
        """The same, with a crop of the kind none, from a photo that was resized and cropped as for
        evaluation."""
        # Another seed than the crop's, or both would draw the same numbers.
        return self._seeded(self._vary, shown, seed + 1)

    @staticmethod
    def _seeded(change: Crop, image: Image.Image, seed: int) -> Image.Image:
        # torchvision draws from torch's global generator, which is put back: the caller may be
        # the process that trains.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return change(image)


def _crop(spec: AugmentationSpec, size: tuple[int, int], preprocessing: Preprocessing) -> Crop:
    """What part of the photo is seen, at the size to train at."""
    crop, mode = spec.crop, _MODES[preprocessing.interpolation]
    if isinstance(crop, NoCrop):
        return preprocessing.resized
    # The whole photo is turned and moved before a window of it is chosen, which so seldom shows
    # the black that comes in at the photo's corners. So did animals-10's original (RandomRotation,
    # then RandomResizedCrop) and fastai, which that of pets used: `aug_transforms` turns what the
    # item's resize has made, and RandomResizedCropGPU comes after that.
    turned = _affine(spec)
    if isinstance(crop, RandomCrop):
        both: Crop = v2.Compose(
            [v2.Resize(list(crop.resize), mode), *turned, v2.RandomCrop(list(size))]
        )
        return both
    ratio = (1 / crop.ratio, crop.ratio)
    window: Crop = v2.Compose(
        [*turned, v2.RandomResizedCrop(list(size), (crop.area, 1.0), ratio, mode)]
    )
    return window


def _affine(spec: AugmentationSpec) -> list[v2.Transform]:
    if not (spec.rotation or spec.shear or spec.zoom or spec.translate):
        return []
    return [
        v2.RandomAffine(
            spec.rotation,
            (spec.translate, spec.translate),
            (1 - spec.zoom, 1 + spec.zoom),
            spec.shear or None,
            v2.InterpolationMode.BILINEAR,
        )
    ]


def _transforms(spec: AugmentationSpec, size: tuple[int, int]) -> list[v2.Transform]:
    """What is done to the part that is seen."""
    # A photo that is seen whole is turned last, as Keras' generator does for dogs-vs-cats, and at
    # the smaller size.
    chosen = _affine(spec) if isinstance(spec.crop, NoCrop) else []
    if spec.shift:
        chosen.append(v2.RandomCrop(list(size), spec.shift, padding_mode="edge"))
    if spec.flip:
        chosen.append(v2.RandomHorizontalFlip())
    if spec.brightness or spec.contrast or spec.colour:
        chosen.append(v2.ColorJitter(spec.brightness, spec.contrast, spec.colour))
    if spec.trivial_augment:
        chosen.append(v2.TrivialAugmentWide(_TRIVIAL_BINS))
    return chosen
