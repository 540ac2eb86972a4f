"""What a run was begun with, kept in its folder: `--resume` goes on with nothing else.

recipe.json             the recipe as it really ran
checkpoint/photos.txt   a line a photo, "part path"
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.fitting import hyperrule
from training.fitting.batches import Indices
from training.fitting.checkpoint import CheckpointError
from training.fitting.schedules import phase_steps
from training.fitting.steps import make_batches
from training.fitting.tracking import flattened, resolved_precision
from training.prepare import Prepared

_PHOTOS = Path("checkpoint", "photos.txt")
_NAMED = 3
# These may change from machine to machine, or change nothing that is learned.
_FREE = ("training.checkpoint_minutes", "training.precision")


def resolved(prepared: Prepared, labels: Indices) -> dict[str, Any]:
    """The recipe with what was left open in it: weights, precision, mixup, and steps of phases.

    Args:
        labels: of the training photos.
    """
    recipe = prepared.recipe
    table = recipe.model_dump(mode="json")
    table["architecture"]["weights"] = prepared.data["weights"]
    table["training"]["precision"] = resolved_precision(recipe.training)
    if recipe.augmentation.mixup == "hyperrule":
        table["augmentation"]["mixup"] = hyperrule.mixup(len(labels))
    table["steps"] = [
        phase_steps(phase, len(labels), make_batches(recipe.training, number, labels).per_epoch)
        for number, phase in enumerate(recipe.training.phases)
    ]
    return table


def note(run: Path, prepared: Prepared, table: Mapping[str, Any]) -> None:
    """Keep what a run begins with; `table` is that of `resolved`."""
    (run / _PHOTOS).parent.mkdir(parents=True, exist_ok=True)
    (run / _PHOTOS).write_bytes("\n".join(prepared.split.lines).encode("utf-8", "surrogateescape"))
    (run / "recipe.json").write_text(json.dumps(table, indent=2) + "\n")


def check(run: Path, prepared: Prepared, table: Mapping[str, Any]) -> None:
    """See that a run goes on as it began.

    Raises:
        CheckpointError: with another recipe, or other photos; it names what differs.
    """
    try:
        before = flattened(json.loads((run / "recipe.json").read_text()))
        photos = (run / _PHOTOS).read_bytes().decode("utf-8", "surrogateescape").split("\n")
    except (OSError, ValueError):
        return  # the checkpoint's own identity tells that something differs
    now = flattened(table)
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    changed = [key for key in keys if key not in _FREE and not key.startswith("steps.")]
    if changed:
        told = "; ".join(f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in changed)
        raise CheckpointError(
            f"{run}: was begun with another recipe: {told}; go on with the same --set, or remove "
            "the folder to begin anew"
        )
    others = sorted({line.partition(" ")[2] for line in set(photos) ^ set(prepared.split.lines)})
    if others:
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        raise CheckpointError(
            f"{run}: was begun with other photos, or another split of them: "
            f"{', '.join(map(ascii, others[:_NAMED]))}{more} came, went, or cannot be decoded any "
            "more; put the folder back as it was, then go on with --resume; or begin anew in "
            f"another run folder, with --weights {run}/checkpoint/best.safetensors to keep what "
            "all but the head has learned"
        )
