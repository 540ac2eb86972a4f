"""Train a model by a recipe:

    catbreeds demo-data build/demo/data
    catbreeds train demo build/demo/data build/demo/run
    catbreeds archive build/demo/run --version 0.1

on several GPUs, or several machines:

    torchrun --nproc-per-node 4 --no-python catbreeds train cat-breeds DATA runs/cats

and after Ctrl-C or a crash: the same with --resume.
"""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from training.data.dataset import check_outside
from training.drawn_cats import golden_photos
from training.evaluation.calibration import fit_temperature, unsure_threshold
from training.evaluation.expected import expected_answers
from training.evaluation.metrics import right_answers
from training.fitting import begun
from training.fitting.checkpoint import CheckpointError, Checkpoints
from training.fitting.fit import Fit, photos_in_all
from training.fitting.journal import Journal
from training.fitting.photos import Photos, normaliser
from training.fitting.rows import node_of
from training.fitting.signals import Signals
from training.fitting.source import PhotoSource
from training.fitting.stage import Interrupted, Surroundings, TrainingError, is_lost_process
from training.fitting.tracking import end_tracking, make_accelerator, start_tracking
from training.fitting.validation import figures, logits_of
from training.memory import keep_memory
from training.prepare import Prepared, prepare
from training.recipe import load_recipe
from training.run_folder import Run, alone, check_no_run, write_run


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
    check_outside(out, data, "OUT")
    if (out / "run.json").exists():
        # What was left where a run was killed just after its last file was written.
        _tidy(out)
    check_no_run(out)
    with alone(out), Signals() as signals:
        try:
            return _train(recipe_name, data, out, changes, weights, resume, tracker, signals)
        except KeyboardInterrupt:
            raise Interrupted("stopped; what was saved before is kept") from None
        except RuntimeError as error:
            if not is_lost_process(error):
                raise
            told = (
                "another process of this training ended, or cannot be reached "
                f"({str(error).splitlines()[0]}); what was saved before is kept"
            )
            if signals.stop:
                raise Interrupted(told) from error
            raise TrainingError(
                f"{told}: mend what that process or the system's log says, then go on with --resume"
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise TrainingError(
                f"{error.filename or out}: {error.strerror}; what was saved before is kept: make "
                "room, then go on with --resume"
            ) from error


def _train(
    recipe_name: str,
    data: Path,
    out: Path,
    changes: Sequence[str],
    weights: str | None,
    resume: bool,
    tracker: str,
    signals: Signals,
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
    training, validation = prepared.training_photos(), prepared.validation_photos()
    table = begun.resolved(prepared, training.labels)
    checkpoint = None
    if checkpoints:
        begun.check(out, prepared, table)
        checkpoint = checkpoints.load(prepared.identity)
    elif resume and accelerator.is_main_process:
        print(f"{out}: no checkpoint is there, training begins anew", file=sys.stderr)
    model = prepared.build()
    scratch = _scratch(out, prepared, accelerator)
    if accelerator.is_main_process:
        begun.note(out, prepared, table)

    done = checkpoint.position.total if checkpoint else 0
    start_tracking(accelerator, tracker, out, recipe.name, table, prepared.data, done)
    photos = photos_in_all(recipe.training, training.labels)
    with Journal(out / "metrics.jsonl", accelerator, photos) as journal:
        if recipe.training.cache_photos:
            node = node_of(accelerator)
            for part, name in ((training, "training"), (validation, "validation")):
                part.cache(scratch / f"{name}-{node.first_rank}.u8", node, journal.progress)
        fit = Fit(
            architecture=prepared.architecture,
            model=model,
            classes=len(prepared.dataset.classes),
            preprocessing=recipe.preprocessing,
            augmentation=recipe.augmentation,
            training=training,
            validation=validation,
            around=Surroundings(
                recipe.training, accelerator, checkpoints, prepared.identity, journal, signals
            ),
            folder=scratch,
        )
        with signals.noted():
            fit.run(checkpoint)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        model.load_state_dict(checkpoints.load_best())
    model.load_state_dict(broadcast(model.state_dict()))
    run = judge(prepared, model, validation, prepared.test_photos(), accelerator)
    if accelerator.is_main_process:
        write_run(out, run, model, golden_photos())
        _tidy(out)
    end_tracking(accelerator)
    return run


def _tidy(out: Path) -> None:
    """Remove what only an unfinished run needs."""
    Checkpoints(out).remove()
    for scratch in out.glob("scratch-*"):
        shutil.rmtree(scratch, ignore_errors=True)


def judge(
    prepared: Prepared, model: nn.Module, validation: Photos, test: Photos, accelerator: Accelerator
) -> Run:
    """The finished run: temperature and threshold by the validation photos, figures by the test's.

    In float32, as the worker computes by default. What a reader of the figures must know of how
    they were found is in the run's `data` as "remarks", a sentence each.

    Raises:
        TrainingError: the model gives no finite logits for any photo of a part.
    """
    recipe, dataset, parts = prepared.recipe, prepared.dataset, prepared.split
    preprocessing = recipe.preprocessing
    normalised = normaliser(preprocessing, accelerator.device)

    remarks: list[str] = []

    def judged(photos: Photos, part: str) -> tuple[Tensor, Tensor]:
        """Of those photos alone that a worker would answer: not an infinite logit, nor a NaN."""
        source = PhotoSource(photos, recipe.training.micro_batch, normalised)
        logits, labels = logits_of(model, source, accelerator), torch.from_numpy(photos.labels)
        finite = logits.isfinite().all(dim=1)
        left_out = int((~finite).sum())
        if left_out == len(logits):
            raise TrainingError(
                f"the finished model gives logits that are not finite for all {len(logits)} "
                f"{part} photos; a lower learning_rate may help"
            )
        if left_out:
            remarks.append(
                f"The model has no answer to {left_out} of the {len(logits)} {part} photos of its "
                "training, as its logits are not finite: its own figures leave these out."
            )
        return logits[finite], labels[finite]

    logits, labels = judged(validation, "validation")
    temperature = fit_temperature(logits, labels)
    if right_answers(logits, labels).all():
        remarks.append(
            f"No answer to the {len(logits)} validation photos is wrong, so that nothing told "
            "whether probabilities are too high: the temperature is left at 1."
        )
    score = recipe.card.unsure_score
    threshold = unsure_threshold(logits, labels, temperature, score, recipe.card.sure_precision)
    if parts.test:
        logits, labels = judged(test, "test")
    return Run(
        name=recipe.name,
        architecture_file=recipe.architecture.file,
        architecture_options=dict(recipe.architecture.options),
        preprocessing=preprocessing,
        classes=list(dataset.classes),
        temperature=temperature,
        unsure_score=score,
        unsure_threshold=threshold,
        data={**prepared.data, **({"remarks": remarks} if remarks else {})},
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
        sure_precision=recipe.card.sure_precision,
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
