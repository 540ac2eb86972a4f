"""A recipe in words, for `catbreeds recipes show`."""

from __future__ import annotations

from training.spec import (
    Constant,
    Cosine,
    HyperRule,
    NoCrop,
    OneCycle,
    PhaseSpec,
    RandomCrop,
    Recipe,
    Steps,
)


def in_words(recipe: Recipe) -> str:
    """What it trains, on what, and how: some lines of text."""
    spec, data, training = recipe.architecture, recipe.data, recipe.training
    options = ", ".join(f"{key} {value}" for key, value in spec.options.items())
    height, width = recipe.build_preprocessing().size
    test = f"{data.test:.0%} test" if data.test else "the layout's own test set, or none"
    lines = [
        recipe.summary,
        "",
        f"model         {spec.file}{f' ({options})' if options else ''}, served as {recipe.name}",
        f"begins with   {'random weights' if spec.weights == 'none' else spec.weights}",
        f"input         {width} x {height} pixels",
        f"data          layout {data.layout}; {data.validation:.0%} validation, {test}",
        f"augmentation  {_augmentation(recipe)}",
        f"batches       {training.batch_size} photos, {training.micro_batch} at once a process",
        f"checkpoint    the best {training.metric}"
        + (f"; stops after {training.early_stop} without a better" if training.early_stop else ""),
    ]
    if training.imbalance != "none":
        lines.append(f"imbalance     {training.imbalance}")
    for number, phase in enumerate(training.phases, 1):
        lines.append(f"phase {number}       {_phase(phase)}")
    return "\n".join(lines)


def _augmentation(recipe: Recipe) -> str:
    spec = recipe.augmentation
    if isinstance(spec.crop, NoCrop):
        parts = []
    elif isinstance(spec.crop, RandomCrop):
        parts = [f"random crop of {spec.crop.resize[1]} x {spec.crop.resize[0]}"]
    else:
        at = f" at {spec.crop.size[1]} x {spec.crop.size[0]}" if spec.crop.size else ""
        parts = [f"random window of {spec.crop.area:.0%} to 100% of the photo{at}"]
    for name in ("shift", "rotation", "shear", "zoom", "translate"):
        if value := getattr(spec, name):
            parts.append(f"{name} up to {value:g}")
    for name in ("brightness", "contrast", "colour"):
        if value := getattr(spec, name):
            parts.append(f"{name} by {value:g}")
    parts += ["mirrored"] * spec.flip + ["TrivialAugment"] * spec.trivial_augment
    if spec.mixup == "hyperrule":
        parts.append("mixup from 20,000 photos on")
    elif spec.mixup:
        parts.append(f"mixup {spec.mixup:g}")
    return ", ".join(parts) or "none"


def _phase(phase: PhaseSpec) -> str:
    what = "all layers" if phase.train == "all" else "the head, the backbone frozen"
    if phase.cached_views:
        what += f" and run once over {phase.cached_views} views of each photo"
    if phase.backbone_factor != 1:
        what += f", the backbone at {phase.backbone_factor:g} of the rate"
    length = ""
    if phase.epochs:
        length = f", {phase.epochs} epochs"
    elif phase.steps:
        length = f", {phase.steps} steps"
    rate = f"{phase.optimiser.kind} at {phase.learning_rate:g}"
    return f"{what}{length}; {rate}, {_schedule(phase)}"


def _schedule(phase: PhaseSpec) -> str:
    match phase.schedule:
        case Constant():
            return "constant"
        case OneCycle(warmup=warmup):
            return f"one cycle with {warmup:.0%} warm-up"
        case Cosine(floor=floor, half_period=half):
            span = f" every {half} epochs" if half else ""
            return f"along a cosine to {floor:g}{span}"
        case Steps(warmup=warmup, drops=drops):
            places = ", ".join(map(str, drops))
            return f"{warmup} steps of warm-up, a tenth after {places}"
        case HyperRule():
            return "as long and by the schedule that BiT-HyperRule has for the number of photos"
