"""Train a model by a recipe:

    catbreeds demo-data build/demo/data
    catbreeds train demo build/demo/data build/demo/run
    catbreeds archive build/demo/run --version 0.1

The photos are decoded once into memory, which fits sets of some ten thousand small ones.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handlers.config import Limits
from handlers.images import decode_image
from handlers.preprocessing import Preprocessing
from handlers.problems import Problem
from training.calibration import fit_temperature, unsure_threshold
from training.datasets import Dataset, DatasetError, Photo, read_cat_breeds, split
from training.drawn_cats import golden_photos
from training.progress import progress_bar
from training.recipe import TrainingSpec, load_recipe
from training.run_folder import Run, build_model, check_no_run, write_run


def train(recipe_name: str, data: Path, out: Path) -> Run:
    """Train, calibrate, and leave a run folder in `out`.

    Raises:
        RecipeError, DatasetError: an unusable recipe or data folder.
        RunError: `out` holds a finished run.
    """
    check_no_run(out)
    recipe = load_recipe(recipe_name)
    spec = recipe.training
    dataset = read_cat_breeds(data)
    parts = split(dataset, recipe.data.validation, recipe.data.seed)
    preprocessing = recipe.build_preprocessing()
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(recipe.model_dump_json(indent=2) + "\n")

    training = load_photos(dataset, parts.training, preprocessing)
    validation = load_photos(dataset, parts.validation, preprocessing)
    data_described = {
        "layout": recipe.data.layout,
        "split_hash": parts.hash,
        "training_photos": len(training.photos),
        "validation_photos": len(validation.photos),
        "not_decoded": sorted(map(str, (*training.rotten, *validation.rotten))),
        "rows_without_file": list(dataset.rows_without_file),
        "classes_not_split": list(parts.unsplit),
    }
    run = Run(
        name=recipe.name,
        architecture_file=recipe.architecture.file,
        architecture_options=recipe.architecture.options,
        preprocessing=preprocessing,
        classes=list(dataset.classes),
        temperature=1.0,
        unsure_threshold=0.0,
        data=data_described,
        metrics={},
        intended_use=recipe.card.intended_use,
        limitations=recipe.card.limitations,
        licence_notes=recipe.card.licence_notes,
    )

    torch.manual_seed(spec.seed)
    model = build_model(run).train().to(memory_format=torch.channels_last)
    fit(model, training.inputs, training.labels, spec, out / "metrics.jsonl")

    logits = predict(model, validation.inputs)
    temperature = fit_temperature(logits, validation.labels)
    probabilities = (logits / temperature).softmax(dim=1)
    run = dataclasses.replace(
        run,
        temperature=temperature,
        unsure_threshold=unsure_threshold(
            probabilities, validation.labels, recipe.card.sure_precision
        ),
        metrics={
            "top1": top_k_accuracy(logits, validation.labels, 1),
            "top5": top_k_accuracy(logits, validation.labels, 5),
            "majority_baseline": dataset.majority_baseline(validation.photos),
        },
    )
    write_run(out, run, model, golden_photos())
    return run


def fit(model: nn.Module, inputs: Tensor, labels: Tensor, spec: TrainingSpec, log: Path) -> None:
    """Optimise in place; one line of JSON an epoch goes to `log`.

    Args:
        inputs: float32 (N, 3, H, W).
        labels: int64 (N,).
    """
    generator = torch.Generator().manual_seed(spec.seed)
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=spec.learning_rate,
        momentum=spec.momentum,
        weight_decay=spec.weight_decay,
        nesterov=spec.momentum > 0,
    )
    steps = spec.epochs * -(-len(inputs) // spec.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, spec.learning_rate, steps, pct_start=spec.warmup, cycle_momentum=False
    )
    with progress_bar() as progress, log.open("w") as lines:
        task = progress.add_task("training", total=spec.epochs * len(inputs))
        started = time.monotonic()
        for epoch in range(1, spec.epochs + 1):
            total = 0.0
            for batch, targets in _batches(inputs, labels, spec, generator):
                loss = F.cross_entropy(model(batch), targets, label_smoothing=spec.label_smoothing)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                total += loss.item() * len(batch)
                progress.advance(task, len(batch))
            mean_loss = total / len(inputs)
            progress.update(task, note=f"loss {mean_loss:.3f}")
            rate = epoch * len(inputs) / (time.monotonic() - started)
            line = {"epoch": epoch, "loss": mean_loss, "photos_per_s": round(rate, 1)}
            lines.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class LoadedPhotos:
    """Photos in memory.

    Attributes:
        inputs: float32 (N, 3, H, W), as the worker would make them.
        labels: int64 (N,).
        photos: the N that they come from.
        rotten: files that do not decode, and are left out.
    """

    inputs: Tensor
    labels: Tensor
    photos: list[Photo]
    rotten: list[Path]


def load_photos(
    dataset: Dataset, photos: Sequence[Photo], preprocessing: Preprocessing
) -> LoadedPhotos:
    """Decode photos as the worker would.

    Raises:
        DatasetError: none of them decodes.
    """
    decoded: list[Photo] = []
    inputs: list[Tensor] = []
    rotten: list[Path] = []
    with progress_bar() as progress:
        for photo in progress.track(photos, description="decoding", total=len(photos)):
            try:
                image = decode_image((dataset.folder / photo.path).read_bytes(), Limits())
            except Problem:
                rotten.append(photo.path)
                continue
            inputs.append(preprocessing(image))
            decoded.append(photo)
    if not decoded:
        raise DatasetError(f"{dataset.folder}: none of {len(photos)} photos decodes")
    labels = torch.tensor([photo.label for photo in decoded])
    return LoadedPhotos(torch.stack(inputs), labels, decoded, rotten)


def predict(model: nn.Module, inputs: Tensor, batch_size: int = 64) -> Tensor:
    """Float32 logits (N, classes) in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in torch.split(inputs, batch_size)])


def top_k_accuracy(logits: Tensor, labels: Tensor, k: int) -> float:
    """Share of photos whose class is among the k best, in 0..1."""
    best = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return float((best == labels[:, None]).any(dim=1).float().mean())


def _batches(
    inputs: Tensor, labels: Tensor, spec: TrainingSpec, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order, each photo shifted and mirrored at random."""
    order = torch.randperm(len(inputs), generator=generator)
    for chosen in torch.split(order, spec.batch_size):
        batch = inputs[chosen]
        if spec.flip:
            mirrored = torch.rand(len(batch), generator=generator) < 0.5
            batch[mirrored] = batch[mirrored].flip(-1)
        if spec.shift:
            batch = _shifted(batch, spec.shift, generator)
        yield batch.to(memory_format=torch.channels_last), labels[chosen]


def _shifted(batch: Tensor, largest: int, generator: torch.Generator) -> Tensor:
    height, width = batch.shape[-2:]
    padded = F.pad(batch, (largest,) * 4, mode="replicate")
    offsets = torch.randint(2 * largest + 1, (len(batch), 2), generator=generator)
    return torch.stack(
        [
            photo[:, top : top + height, left : left + width]
            for photo, (top, left) in zip(padded, offsets.tolist(), strict=True)
        ]
    )
