"""A recipe in words, for `catbreeds recipes show`: a line a topic.

All that a recipe decides is in them, but what is at its default and does nothing is left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import fill

from handlers.preprocessing import Preprocessing
from training.spec import (
    AugmentationSpec,
    Constant,
    Cosine,
    HyperRule,
    OneCycle,
    PhaseSpec,
    RandomCrop,
    RandomResizedCrop,
    Recipe,
    Sgd,
    Steps,
    TrainingSpec,
)
from training.spec.base import thawed

_WIDTH, _TOPIC = 100, 14
_RATIO = RandomResizedCrop.model_fields["ratio"].default
_MINUTES = TrainingSpec.model_fields["checkpoint_minutes"].default


def in_words(recipe: Recipe) -> str:
    """What it trains, on what, and how: some lines of text."""
    spec, data, training = recipe.architecture, recipe.data, recipe.training
    options = ", ".join(f"{key} {json.dumps(each)}" for key, each in thawed(spec.options).items())
    test = f"{_percent(data.test)} test" if data.test else "the layout's own test set, or none"
    topics = {
        "model": f"{spec.file}{f' ({options})' if options else ''}, served as {recipe.name}",
        "begins with": "random weights" if spec.weights == "none" else spec.weights,
        "input": _input(recipe.preprocessing),
        "normalised": f"from 0 to 1, less {_channels(recipe.preprocessing.mean)}, "
        f"divided by {_channels(recipe.preprocessing.std)}",
        "data": f"layout {data.layout}; {_percent(data.validation)} validation, {test}",
        "augmentation": _augmentation(recipe.augmentation, recipe.preprocessing.size),
        "seeds": f"{data.seed} for the split, {training.seed} for all else",
        "batches": _batches(training),
        "learning": _learning(training),
        "checkpoint": _checkpoint(training),
        **{f"phase {number}": _phase(each) for number, each in enumerate(training.phases, 1)},
        "unsure": f"by {recipe.card.unsure_score}, so that {_percent(recipe.card.sure_precision)} "
        "of the other answers are right",
    }
    lines = [_line(topic, text) for topic, text in topics.items() if text]
    return "\n".join([recipe.summary, "", *lines])


def _line(topic: str, text: str) -> str:
    return fill(
        text,
        _WIDTH,
        initial_indent=f"{topic:{_TOPIC}}",
        subsequent_indent=" " * _TOPIC,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _input(preprocessing: Preprocessing) -> str:
    resize, crop = preprocessing.resize, preprocessing.crop
    if isinstance(resize, int):
        how = f"the shorter side resized to {resize}, then the middle of it"
    elif crop is not None:
        how = f"resized to {_size(resize)}, then the middle of it"
    else:
        how = "both sides resized"
    return f"{_size(preprocessing.size)} pixels: {how}, {preprocessing.interpolation}"


def _augmentation(spec: AugmentationSpec, evaluated: tuple[int, int]) -> str:
    crop, parts = spec.crop, []
    if isinstance(crop, RandomCrop):
        parts = [f"resized to {_size(crop.resize)}, random crop of {_size(spec.size(evaluated))}"]
    elif isinstance(crop, RandomResizedCrop):
        at = f" at {_size(crop.size)}" if crop.size else ""
        parts = [f"random window of {_percent(crop.area)} to 100% of the photo{at}"]
        if crop.ratio != _RATIO:
            parts.append(f"its aspect ratio changed by a factor of up to {_number(crop.ratio)}")
    for name, (value, unit) in {
        "shift": (spec.shift, " pixels"),
        "rotation": (spec.rotation, " degrees"),
        "shear": (spec.shear, " degrees"),
        "zoom": (100 * spec.zoom, "%"),
        "translation": (100 * spec.translate, "%"),
        "brightness": (100 * spec.brightness, "%"),
        "contrast": (100 * spec.contrast, "%"),
        "colour": (100 * spec.colour, "%"),
    }.items():
        if value:
            parts.append(f"{name} up to {_number(value)}{unit}")
    parts += ["mirrored"] * spec.flip + ["TrivialAugment"] * spec.trivial_augment
    if spec.mixup == "hyperrule":
        parts.append("mixup from 20,000 photos on")
    elif spec.mixup:
        parts.append(f"mixup {_number(spec.mixup)}")
    return ", ".join(parts) or "none"


def _batches(spec: TrainingSpec) -> str:
    parts = [f"{spec.batch_size} photos, {spec.micro_batch} at once a process"]
    if spec.precision != "auto":
        parts.append(f"computed in {spec.precision}")
    if spec.cache_photos:
        parts.append("each photo decoded once and kept")
    return "; ".join(parts)


def _learning(spec: TrainingSpec) -> str:
    parts = []
    if spec.imbalance != "none":
        parts.append(f"{spec.imbalance} for unequal classes")
    if spec.label_smoothing:
        parts.append(f"label smoothing {_number(spec.label_smoothing)}")
    if spec.clip_norm:
        parts.append(f"gradients scaled down to a norm of {_number(spec.clip_norm)}")
    return "; ".join(parts)


def _checkpoint(spec: TrainingSpec) -> str:
    every = f"every {spec.evaluate_every} steps" if spec.evaluate_every else "after each epoch"
    parts = [f"the best {spec.metric}, looked at {every}"]
    if spec.early_stop:
        parts.append(f"stops after {spec.early_stop} without a better")
    if spec.checkpoint_minutes != _MINUTES:
        parts.append(f"saved every {_number(spec.checkpoint_minutes)} minutes")
    return "; ".join(parts)


def _phase(phase: PhaseSpec) -> str:
    what = "all layers" if phase.train == "all" else "the head, the backbone frozen"
    if phase.cached_views:
        what += f" and run once over {phase.cached_views} views of each photo"
    if phase.backbone_factor != 1:
        what += f", the backbone at {_number(phase.backbone_factor)} of the rate"
    if phase.freeze_norm:
        what += ", batch normalisation kept as it is"
    if phase.epochs:
        what += f", {phase.epochs} epochs"
    elif phase.steps:
        what += f", {phase.steps} steps"
    return f"{what}; {_optimiser(phase)}; {_schedule(phase)}"


def _optimiser(phase: PhaseSpec) -> str:
    kind = phase.optimiser
    parts = [f"{'SGD' if isinstance(kind, Sgd) else 'Adam'} at {_number(phase.learning_rate)}"]
    if isinstance(kind, Sgd) and kind.momentum:
        nesterov = "Nesterov " if kind.nesterov else ""
        parts.append(f"{nesterov}momentum {_number(kind.momentum)}")
    if kind.weight_decay:
        parts.append(f"weight decay {_number(kind.weight_decay)}")
    return ", ".join(parts)


def _schedule(phase: PhaseSpec) -> str:
    match phase.schedule:
        case Constant():
            return "constant"
        case OneCycle(warmup=warmup):
            return f"one cycle with {_percent(warmup)} warm-up"
        case Cosine(floor=floor, half_period=half):
            span = f" every {half} epochs" if half else ""
            return f"along a cosine to {_number(floor)}{span}"
        case Steps(warmup=warmup, drops=drops):
            places = f", a tenth after {', '.join(map(str, drops))}" if drops else ""
            return f"{warmup} steps of warm-up{places}"
        case HyperRule():
            return "as long and by the schedule that BiT-HyperRule has for the number of photos"


def _size(size: tuple[int, int]) -> str:
    """Of (height, width)."""
    return f"{size[1]} x {size[0]}"


def _channels(values: Sequence[float]) -> str:
    return ", ".join(map(_number, values[:1] if len(set(values)) == 1 else values))


def _percent(share: float) -> str:
    return f"{_number(100 * share)}%"


def _number(value: float) -> str:
    """With as many digits as people write, without those that binary fractions add."""
    return f"{value:.12g}"
