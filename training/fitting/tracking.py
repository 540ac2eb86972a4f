"""Where curves go besides `metrics.jsonl`: TensorBoard, Comet or MLflow, by accelerate's trackers.

tensorboard   event files in the run folder; look with: tensorboard --logdir RUN/tracking
comet         comet.com, by COMET_API_KEY; COMET_START_ONLINE=0 and COMET_OFFLINE_DIRECTORY for
              an archive that is uploaded later
mlflow        the server or folder that MLFLOW_TRACKING_URI names
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args
from uuid import uuid4

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from training.recipe import RecipeError
from training.spec import TrainingSpec

TrackerName = Literal["tensorboard", "comet", "mlflow", "none"]

# Name -> (accelerate's name, the package that it needs, our extra that installs it).
_NEEDS = {
    "tensorboard": ("tensorboard", "tensorboard", None),
    "comet": ("comet_ml", "comet_ml", "comet"),
    "mlflow": ("mlflow", "mlflow", "mlflow"),
}
_PATIENCE = timedelta(hours=12)
_PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


class TrackingError(Exception):
    """No such tracker, or its package is not installed; the message says what to do."""


def make_accelerator(spec: TrainingSpec, tracker: str, folder: Path) -> Accelerator:
    """The processes and devices that this was launched with, and the tracker.

    Raises:
        TrackingError: see there.
        RecipeError: a precision that the device does not have.
    """
    if tracker not in get_args(TrackerName):
        raise TrackingError(
            f"tracker {tracker!r}: must be one of {', '.join(get_args(TrackerName))}"
        )
    chosen = None
    if tracker != "none":
        chosen, package, extra = _NEEDS[tracker]
        if importlib.util.find_spec(package) is None:
            raise TrackingError(f"tracker {tracker}: needs `pip install 'catbreeds[{extra}]'`")
    return Accelerator(
        # The others wait while the first one downloads and looks at each photo.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
        mixed_precision=_PRECISIONS[resolved_precision(spec)],
        log_with=chosen,
        project_dir=folder / "tracking",
        cpu=not torch.cuda.is_available(),
    )


def resolved_precision(spec: TrainingSpec) -> str:
    """What "auto" means on this machine.

    Raises:
        RecipeError: half precision is asked for where there is no GPU.
    """
    gpu = torch.cuda.is_available()
    if spec.precision == "auto":
        return "bfloat16" if gpu and torch.cuda.is_bf16_supported() else "float32"
    if spec.precision == "float16" and not gpu:
        raise RecipeError(
            "training.precision = 'float16': needs a GPU; "
            "auto, bfloat16 and float32 are allowed here"
        )
    return spec.precision


def start_tracking(
    accelerator: Accelerator,
    tracker: str,
    run: Path,
    name: str,
    table: Mapping[str, Any],
    facts: Mapping[str, Any],
    done: int,
) -> None:
    """Tell the tracker what really runs; a run that goes on, goes on in its curves.

    Args:
        tracker: the one that the accelerator was made with.
        run: folder where the tracker's own name of the run is kept.
        name: of the model.
        table: the recipe as it was resolved.
        facts: such as the hash of the split; of a list its length is told.
        done: steps that are done.

    Raises:
        TrackingError: the tracker cannot be reached, or lacks a setting.
    """
    told = {key: len(value) if isinstance(value, list) else value for key, value in facts.items()}
    machine = {"device": str(accelerator.device), "processes": accelerator.num_processes}
    config = flattened({**table, "found": told, "machine": machine})
    known = run / "tracking" / f"{tracker}.id"
    options: dict[str, Any] = {}
    if tracker == "tensorboard" and done:
        # Later points, of steps that are done again, are hidden.
        options["purge_step"] = done + 1
    if tracker == "comet":
        options["experiment_key"] = _read(known) if done else uuid4().hex
    if tracker == "mlflow":
        options["run_id"] = _read(known) if done else None
        # Its client would try for minutes, again at each step.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    # MLflow takes each parameter once.
    again = tracker == "mlflow" and options["run_id"] is not None
    try:
        accelerator.init_trackers(
            name, None if again else config, {str(each): options for each in accelerator.log_with}
        )
        if accelerator.is_main_process and tracker in ("comet", "mlflow"):
            (mine,) = accelerator.trackers
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text(
                mine.tracker.info.run_id if tracker == "mlflow" else options["experiment_key"]
            )
    # Each tracker has errors of its own: no key, no server, a store of an older version, ...
    except Exception as error:
        raise TrackingError(
            f"the tracker does not start: {error}; see its settings in docs/training.md, "
            "or take --tracker none"
        ) from error


def end_tracking(accelerator: Accelerator) -> None:
    """Close the tracker, and what joins the processes. Whatever it raises is said, and no more: the
    run is complete."""
    try:
        accelerator.end_training()
    except Exception as error:
        print(f"the tracker did not end well: {error}", file=sys.stderr)


def _read(known: Path) -> str | None:
    return known.read_text().strip() if known.exists() else None


def flattened(value: object, path: str = "") -> dict[str, str | int | float | bool]:
    """{"training.phases.0.epochs": 20, ...}: trackers take no tables."""
    if isinstance(value, dict):
        parts = [(str(key), each) for key, each in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(str(index), each) for index, each in enumerate(value)]
    else:
        simple = isinstance(value, str | int | float | bool)
        return {path: value if simple else str(value)}  # type: ignore[dict-item]
    inner = (flattened(each, f"{path}.{key}" if path else key) for key, each in parts)
    return {key: each for table in inner for key, each in table.items()}
