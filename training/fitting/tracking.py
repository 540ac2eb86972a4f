"""Where curves go besides `metrics.jsonl`: TensorBoard, Comet or MLflow, by accelerate's trackers.

tensorboard   event files in the run folder; look with: tensorboard --logdir RUN/tracking
comet         comet.com, by COMET_API_KEY; COMET_START_ONLINE=0 and COMET_OFFLINE_DIRECTORY for
              an archive that is uploaded later
mlflow        the server or folder that MLFLOW_TRACKING_URI names
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from training.recipe import RecipeError
from training.spec import Recipe, TrainingSpec

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


def start_tracking(accelerator: Accelerator, recipe: Recipe, facts: Mapping[str, Any]) -> None:
    """Tell the tracker what really runs: the recipe as it was resolved, and facts of this run.

    Args:
        facts: such as the hash of the split; of a list its length is told.

    Raises:
        TrackingError: the tracker cannot be reached, or lacks a setting.
    """
    told = {key: len(value) if isinstance(value, list) else value for key, value in facts.items()}
    machine = {
        "device": str(accelerator.device),
        "processes": accelerator.num_processes,
        "precision": accelerator.mixed_precision,
    }
    config = flattened({**recipe.model_dump(), "found": told, "machine": machine})
    try:
        accelerator.init_trackers(recipe.name, config)
    # Each tracker has errors of its own: no key, no server, a store of an older version, ...
    except Exception as error:
        raise TrackingError(
            f"the tracker does not start: {error}; see its settings in docs/training.md, "
            "or take --tracker none"
        ) from error


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
