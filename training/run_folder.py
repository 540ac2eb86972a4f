"""The run folder: what training or an import leaves behind and what `archive` packs.

    run.json               everything the model card says, and how to rebuild the model
    classes.json           class names in the order of the logits
    weights.safetensors    state dict of the float32 model, weight standardisation not folded
    golden/NN.png          a few small photos
    golden/logits.safetensors   the float32 logits of those photos, shape (photos, classes)

The golden logits are computed here, once, so that packing stays a pure copy: two archives of
one run are the same bytes on every machine, although two machines may differ in the last bits
of a convolution.
"""

from __future__ import annotations

import dataclasses
import fcntl
import importlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import safetensors.torch
import torch
from torch import nn

from handlers.bundle import UnsureScore
from handlers.config import Limits
from handlers.expected import Expected
from handlers.images import decode_image
from handlers.preprocessing import Preprocessing
from training.spec.base import MODEL_NAME

_LOCK = ".training.lock"
_UNFINISHED = {
    _LOCK,
    "checkpoint",
    "classes.json",
    "golden",
    "metrics.jsonl",
    "recipe.json",
    "tracking",
    "weights.safetensors",
}

_LIBRARIES = (
    "openvino",
    "pillow",
    "pillow-heif",
    "safetensors",
    "torch",
    "torchserve",
    "torchvision",
)


class RunError(Exception):
    """The folder is not a finished run; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Run:
    """A trained or imported model, without its weights.

    Attributes:
        name: what the model is called when it is served.
        architecture_file: a module of `training.models`, without `.py`.
        architecture_options: keyword arguments of that module's `build`, besides `num_classes`.
        preprocessing: photo -> input tensor, the same in evaluation and in the worker.
        classes: names in the order of the logits.
        temperature: logits are divided by it before the softmax (Guo et al. 2017,
            https://arxiv.org/abs/1706.04599).
        unsure_score: "probability", "max-logit" or "energy", see `handlers.predictions.sureness`.
        unsure_threshold: an answer whose score lies below it is marked unsure.
        data: where the photos came from, the hash of the split, how many there were; "remarks",
            where there are any, for readers of the figures.
        metrics: figures on the held-out photos, the majority baseline beside them.
        expected: the answers to those photos; None where nothing was measured, or before that was.
        sure_precision: what the threshold was chosen for: at least this share, in 0..1, of the
            validation answers at or above it is right. None where that is not stated.
    """

    name: str
    architecture_file: str
    architecture_options: Mapping[str, Any]
    preprocessing: Preprocessing
    classes: Sequence[str]
    temperature: float
    unsure_score: UnsureScore
    unsure_threshold: float
    data: Mapping[str, Any]
    metrics: Mapping[str, float]
    intended_use: str
    limitations: Sequence[str]
    licence_notes: Sequence[str]
    expected: Expected | None = None
    sure_precision: float | None = None
    git_sha: str = dataclasses.field(default_factory=lambda: git_sha())
    libraries: Mapping[str, str] = dataclasses.field(default_factory=lambda: library_versions())

    def __post_init__(self) -> None:
        if not re.match(MODEL_NAME, self.name):
            raise RunError(
                f"name {self.name!r}: must be of letters, digits, _ . and -, "
                "and begin with a letter or digit"
            )


def architecture(run: Run) -> ModuleType:
    """The module of `training.models` that the run names."""
    return importlib.import_module(f"training.models.{run.architecture_file}")


def build_model(run: Run) -> nn.Module:
    """A freshly initialised model of the run's architecture, in evaluation mode."""
    model: nn.Module = architecture(run).build(len(run.classes), **run.architecture_options)
    return model.eval()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While one training is at work in a run folder, no other is; processes of one count as one.

    Raises:
        RunError: another is at work there.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / _LOCK
    with lock.open("w") as file:
        try:
            # Of the process, unlike flock's, which forked loaders would share, and hold for some
            # seconds after the process that trains was killed.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise RunError(f"{folder}: another training is at work there") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            # What was refused at once leaves nothing behind.
            if made and not any(folder.iterdir()):
                folder.rmdir()


def check_no_run(folder: Path) -> None:
    """A finished run is never written over, nor anything else: call this before long work, too.

    Raises:
        RunError: the folder holds a finished run, or files that are not those of a run.
    """
    if (folder / "run.json").exists():
        raise RunError(f"{folder}: holds a finished run; choose another folder, or remove it")
    if folder.exists():
        others = {path.name for path in folder.iterdir()} - _UNFINISHED
        others = {
            name for name in others if not name.endswith(".partial") and name[:8] != "scratch-"
        }
        if others:
            raise RunError(f"{folder}: holds {min(others)}, which no run writes; choose another")


def write_run(folder: Path, run: Run, model: nn.Module, golden_photos: Sequence[bytes]) -> None:
    """Write a finished run; `run.json` comes last, so that a folder with it is complete.

    Args:
        folder: made if missing; what an interrupted run left in it is replaced.
        model: float32, unfolded; on the CPU for the golden logits.
        golden_photos: encoded PNG files, a few small ones.

    Raises:
        RunError: the folder holds a finished run.
    """
    check_no_run(folder)
    (folder / "golden").mkdir(parents=True, exist_ok=True)
    for old in (folder / "golden").glob("*.png"):
        old.unlink()
    model = model.eval().cpu()
    photos = [decode_image(photo, Limits()) for photo in golden_photos]
    with torch.inference_mode():
        logits = model(torch.stack([run.preprocessing(photo) for photo in photos]))
    for number, photo in enumerate(golden_photos):
        _replace(folder / "golden" / f"{number:02d}.png", photo)
    _replace(
        folder / "golden" / "logits.safetensors",
        safetensors.torch.save({"logits": logits.float().clone().contiguous()}),
    )
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    _replace(folder / "weights.safetensors", safetensors.torch.save(state))
    _replace(folder / "classes.json", _json(list(run.classes)))
    described = dataclasses.asdict(run) | {"preprocessing": run.preprocessing.to_dict()}
    del described["classes"]
    _replace(folder / "run.json", _json(described))


def read_run(folder: Path) -> Run:
    """Read `run.json` and `classes.json` back.

    Raises:
        RunError: not a finished run, or a file in it does not hold what it should.
    """
    if not (folder / "run.json").is_file():
        raise RunError(
            f"{folder}: no finished run here (run.json is missing); "
            "`catbreeds train` or `catbreeds import` makes one"
        )
    try:
        described = json.loads((folder / "run.json").read_text())
        classes = json.loads((folder / "classes.json").read_text())
        preprocessing = Preprocessing.from_dict(described.pop("preprocessing"))
        if expected := described.pop("expected", None):
            described["expected"] = Expected.from_dict(expected)
        return Run(classes=classes, preprocessing=preprocessing, **described)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{folder}: run.json and classes.json do not hold a run: {error}") from error


def git_sha() -> str:
    """The commit of this checkout, `-dirty` behind it where files differ, or `unknown`."""
    here = str(Path(__file__).parent)
    # --exclude: a tag's name would otherwise take the place of the commit.
    git = ("git", "-C", here, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    try:
        answer = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()


def library_versions() -> dict[str, str]:
    """Versions of the libraries that shape an answer."""
    return {name: version(name) for name in _LIBRARIES}


def _json(value: object) -> bytes:
    # What a file's name has that is not UTF-8 becomes JSON's own escape of it.
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(content)
    temporary.replace(path)
