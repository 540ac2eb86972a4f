"""Train a model by a recipe:

    catbreeds demo-data build/demo/data
    catbreeds train demo build/demo/data build/demo/run
    catbreeds archive build/demo/run --version 0.1

on several GPUs, or several machines:

    torchrun --nproc-per-node 4 --no-python catbreeds train cat-breeds DATA runs/cats

and after Ctrl-C or a crash: the same with --resume.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from training.drawn_cats import golden_photos
from training.evaluation.calibration import fit_temperature, unsure_threshold
from training.evaluation.expected import expected_answers
from training.fitting.checkpoint import CheckpointError, Checkpoints
from training.fitting.fit import Fit, photos_in_all
from training.fitting.journal import Journal
from training.fitting.photos import Photos, normaliser
from training.fitting.signals import Signals
from training.fitting.source import PhotoSource
from training.fitting.steps import Surroundings
from training.fitting.tracking import flattened, make_accelerator, start_tracking
from training.fitting.validation import figures, logits_of
from training.memory import keep_memory
from training.prepare import Prepared, prepare
from training.recipe import load_recipe
from training.run_folder import Run, alone, check_no_run, write_run
from training.spec import Recipe


def train(
    recipe_name: str,
    data: Path,
    out: Path,
    *,
    changes: Sequence[str] = (),
    weights: str | None = None,
    resume: bool = False,
    tracker: str = "tensorboard",
) -> Run:
    """Train, calibrate, and leave a run folder in `out`.

    Args:
        changes: to the recipe, see `load_recipe`.
        weights: a file instead of the recipe's download; "none": random weights.
        resume: go on from the checkpoint in `out`, if there is one.
        tracker: see `training.fitting.tracking`.

    Raises:
        RecipeError, DatasetError, WeightsError: an unusable recipe, data folder or file of weights.
        RunError: `out` holds a finished run.
        CheckpointError: `out` holds an interrupted run and `resume` is off, or the disk is full.
        TrackingError: no such tracker.
        TrainingError, Interrupted: see there; `resume` goes on.
    """
    keep_memory()
    check_no_run(out)
    with alone(out):
        return _train(recipe_name, data, out, changes, weights, resume, tracker)


def _train(
    recipe_name: str,
    data: Path,
    out: Path,
    changes: Sequence[str],
    weights: str | None,
    resume: bool,
    tracker: str,
) -> Run:
    recipe = load_recipe(recipe_name, changes)
    checkpoints = Checkpoints(out)
    if checkpoints and not resume:
        raise CheckpointError(
            f"{out}: holds an interrupted run; go on with --resume, or remove the folder"
        )
    accelerator = make_accelerator(recipe.training, tracker, out)
    # The first process of each machine downloads and scans, the others find it in the caches.
    with accelerator.local_main_process_first():
        prepared = prepare(recipe, data, weights)
    checkpoint = None
    if checkpoints:
        _check_recipe(out, recipe)
        checkpoint = checkpoints.load(prepared.identity)
    model = prepared.build()
    scratch = _scratch(out, prepared, accelerator)
    if accelerator.is_main_process:
        (out / "recipe.json").write_text(recipe.model_dump_json(indent=2) + "\n")
    training, validation = prepared.training_photos(), prepared.validation_photos()
    if recipe.training.cache_photos:
        training.cache(scratch / f"training-{accelerator.process_index}.u8")
        validation.cache(scratch / f"validation-{accelerator.process_index}.u8")

    start_tracking(accelerator, recipe, prepared.data)
    photos = photos_in_all(recipe.training, training.labels)
    with Journal(out / "metrics.jsonl", accelerator, photos) as journal, Signals() as signals:
        Fit(
            architecture=prepared.architecture,
            model=model,
            classes=len(prepared.dataset.classes),
            preprocessing=recipe.build_preprocessing(),
            augmentation=recipe.augmentation,
            training=training,
            validation=validation,
            around=Surroundings(
                recipe.training, accelerator, checkpoints, prepared.identity, journal, signals
            ),
            folder=scratch,
        ).run(checkpoint)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        model.load_state_dict(checkpoints.load_best())
    model.load_state_dict(broadcast(model.state_dict()))
    run = judge(prepared, model, validation, prepared.test_photos(), accelerator)
    accelerator.end_training()
    if accelerator.is_main_process:
        write_run(out, run, model, golden_photos())
        checkpoints.remove()
        shutil.rmtree(scratch, ignore_errors=True)
    return run


def _check_recipe(out: Path, recipe: Recipe) -> None:
    """What was changed since a run began is named, which its checkpoint could not do."""
    try:
        before = flattened(json.loads((out / "recipe.json").read_text()))
    except (OSError, ValueError):
        return
    now = flattened(recipe.model_dump(mode="json"))
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    changed = [key for key in keys if key != "training.checkpoint_minutes"]
    if changed:
        told = "; ".join(f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in changed)
        raise CheckpointError(
            f"{out}: was begun with another recipe: {told}; go on with the same --set, or remove "
            "the folder to begin anew"
        )


def judge(
    prepared: Prepared, model: nn.Module, validation: Photos, test: Photos, accelerator: Accelerator
) -> Run:
    """The finished run: temperature and threshold by the validation photos, figures by the test's.

    In float32, as the worker computes by default.
    """
    recipe, dataset, parts = prepared.recipe, prepared.dataset, prepared.split
    preprocessing = recipe.build_preprocessing()
    normalised = normaliser(preprocessing, accelerator.device)

    def judged(photos: Photos) -> tuple[Tensor, Tensor]:
        source = PhotoSource(photos, recipe.training.micro_batch, normalised)
        return logits_of(model, source, accelerator), torch.from_numpy(photos.labels)

    logits, labels = judged(validation)
    temperature = fit_temperature(logits, labels)
    score = recipe.card.unsure_score
    threshold = unsure_threshold(logits, labels, temperature, score, recipe.card.sure_precision)
    if parts.test:
        logits, labels = judged(test)
    return Run(
        name=recipe.name,
        architecture_file=recipe.architecture.file,
        architecture_options=recipe.architecture.options,
        preprocessing=preprocessing,
        classes=list(dataset.classes),
        temperature=temperature,
        unsure_score=score,
        unsure_threshold=threshold,
        data=prepared.data,
        metrics={
            **figures(logits, labels),
            "majority_baseline": dataset.majority_baseline(parts.test or parts.validation),
        },
        intended_use=recipe.card.intended_use,
        limitations=recipe.card.limitations,
        licence_notes=recipe.card.licence_notes,
        expected=expected_answers(
            logits, dataset.classes, temperature, score, threshold, prepared.data["figures_of"]
        ),
    )


def _scratch(out: Path, prepared: Prepared, accelerator: Accelerator) -> Path:
    """Where photos and features are kept meanwhile; those of another training go."""
    identity = "".join(each[:8] for each in prepared.identity.values())
    folder = out / f"scratch-{identity}"
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            for other in out.glob("scratch-*"):
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    return folder
