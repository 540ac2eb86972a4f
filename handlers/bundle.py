"""The files of an unpacked archive: all that a worker needs, and nothing of the checkout.

architecture.py            build, fold, explained_layer and explained_cells; depends on torch only
weights.safetensors        state dict, unfolded, as trained
index_to_name.json         {"0": "Abyssinian", ...}
model-card.json            what the model is; also preprocessing and calibration
golden/NN.png              a few photos
golden/logits.safetensors  their reference logits, "logits": float32 (photos, classes)
SHA256SUMS                 of every other file
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeGuard, get_args

import safetensors.torch
import torch
from torch import nn

from handlers.config import Limits
from handlers.images import decode_image
from handlers.preprocessing import Preprocessing

# What decides that an answer is unsure; `handlers.predictions.sureness` computes it.
UnsureScore = Literal["probability", "max-logit", "energy"]


class BundleError(Exception):
    """A file of the archive does not hold what it should; the message names the file."""


@dataclass(frozen=True)
class GoldenSet:
    """Photos and the logits that the model gave for them when it was trained.

    Attributes:
        inputs: float32 (photos, 3, height, width), preprocessed.
        logits: float32 (photos, classes).
    """

    inputs: torch.Tensor
    logits: torch.Tensor


@dataclass(frozen=True)
class Bundle:
    """A model that is ready to be run.

    Attributes:
        card: the model card, as `GET /models/<name>?customized=true` answers it.
        class_names: in the order of the logits.
        preprocessing: photo -> input.
        model: float32, folded for inference, evaluation mode, gradients off.
        explained_layer: of `model`; puts out the last feature map with a height and a width.
        explained_cells: (pixel that its first cell is centred on, pixels from a cell to the next),
            the same down and across.
        golden: for the self-test at load.
    """

    card: Mapping[str, Any]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    model: nn.Module
    explained_layer: nn.Module
    explained_cells: tuple[float, float]
    golden: GoldenSet

    @property
    def name(self) -> str:
        """The model's own name, whatever it is registered as."""
        return str(self.card["name"])

    @property
    def version(self) -> str:
        """The archive's version."""
        return str(self.card["version"])

    @property
    def temperature(self) -> float:
        """Logits are divided by it before the softmax."""
        return float(self.card["temperature"])

    @property
    def unsure_score(self) -> UnsureScore:
        """What the threshold is about."""
        score: UnsureScore = self.card["unsure_score"]
        return score

    @property
    def unsure_threshold(self) -> float:
        """An answer whose score lies below it is unsure."""
        return float(self.card["unsure_threshold"])


def load_bundle(model_dir: Path) -> Bundle:
    """Read an unpacked archive whose checksums have been verified: its architecture.py is run.

    Raises:
        BundleError: a file is missing, cannot be read, or does not fit the others.
    """
    card = _json_object(model_dir / "model-card.json")
    class_names = _class_names(model_dir / "index_to_name.json")
    _check_card(card, len(class_names))
    try:
        preprocessing = Preprocessing.from_dict(card["preprocessing"])
    except (ValueError, TypeError) as error:
        raise BundleError(f"model-card.json: {error}") from error
    architecture = _architecture(model_dir / "architecture.py")
    model = _model(architecture, card["architecture"]["options"], len(class_names), model_dir)
    try:
        explained_layer: nn.Module = architecture.explained_layer(model)
    except Exception as error:
        raise BundleError(f"architecture.py: explained_layer: {error}") from error
    return Bundle(
        card=card,
        class_names=class_names,
        preprocessing=preprocessing,
        model=model,
        explained_layer=explained_layer,
        explained_cells=_explained_cells(architecture, model),
        golden=_golden_set(model_dir / "golden", preprocessing, len(class_names)),
    )


def _json_object(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path.name}: cannot be read: {error}") from error
    if not isinstance(read, dict):
        raise BundleError(f"{path.name}: not a JSON object")
    return read


def _class_names(path: Path) -> tuple[str, ...]:
    read = _json_object(path)
    try:
        names = tuple(read[str(index)] for index in range(len(read)))
    except KeyError as error:
        raise BundleError(f"{path.name}: class {error} is missing") from None
    if not names or not all(isinstance(name, str) and name for name in names):
        raise BundleError(f"{path.name}: every class needs a name")
    if len(set(names)) != len(names):
        raise BundleError(f"{path.name}: two classes have the same name")
    return names


def _check_card(card: dict[str, Any], classes: int) -> None:
    problem = None
    for key in ("name", "version", "architecture", "preprocessing"):
        if key not in card:
            problem = f"{key!r} is missing"
    architecture = card.get("architecture")
    temperature = card.get("temperature")
    score, threshold = card.get("unsure_score"), card.get("unsure_threshold")
    if not isinstance(architecture, dict) or not isinstance(architecture.get("options"), dict):
        problem = "architecture: an object with `options` is needed"
    elif card.get("classes") != classes:
        problem = f"classes: {card.get('classes')!r}, but index_to_name.json has {classes}"
    elif not _is_number(temperature) or not 0 < temperature < math.inf:
        problem = f"temperature: {temperature!r} is not allowed; a positive number is"
    elif score not in get_args(UnsureScore):
        problem = f"unsure_score: {score!r} is not allowed; one of {get_args(UnsureScore)} is"
    # The next number after 1 means: unsure of everything.
    elif score == "probability" and not (
        _is_number(threshold) and 0 <= threshold <= math.nextafter(1, 2)
    ):
        problem = f"unsure_threshold: {threshold!r} is not allowed; 0 to 1 is"
    elif not _is_number(threshold) or not math.isfinite(threshold):
        problem = f"unsure_threshold: {threshold!r} is not allowed; a finite number is"
    if problem:
        raise BundleError(f"model-card.json: {problem}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _architecture(path: Path) -> ModuleType:
    # By path and under a name of its own: a checkout on sys.path must not come first.
    spec = importlib.util.spec_from_file_location("catbreeds_architecture", path)
    if spec is None or spec.loader is None:
        raise BundleError(f"{path.name}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BundleError(f"{path.name}: {type(error).__name__}: {error}") from error
    for name in ("build", "fold", "explained_layer", "explained_cells"):
        if not callable(getattr(module, name, None)):
            raise BundleError(f"{path.name}: function {name} is missing")
    return module


def _model(
    architecture: ModuleType, options: dict[str, Any], classes: int, model_dir: Path
) -> nn.Module:
    try:
        model: nn.Module = architecture.build(classes, **options)
        state = safetensors.torch.load_file(model_dir / "weights.safetensors")
        model.load_state_dict(state, strict=True)
    except Exception as error:
        raise BundleError(f"weights.safetensors: do not fit architecture.py: {error}") from error
    try:
        folded: nn.Module = architecture.fold(model.eval())
    except Exception as error:
        raise BundleError(f"architecture.py: fold: {error}") from error
    folded.requires_grad_(False)
    return folded.eval().to(memory_format=torch.channels_last)


def _explained_cells(architecture: ModuleType, model: nn.Module) -> tuple[float, float]:
    try:
        first, step = architecture.explained_cells(model)
    except Exception as error:
        raise BundleError(f"architecture.py: explained_cells: {error}") from error
    if not (_is_number(first) and math.isfinite(first)):
        raise BundleError(
            f"architecture.py: explained_cells: first is {first!r}; a number is needed"
        )
    if not (_is_number(step) and 0 < step < math.inf):
        raise BundleError(
            f"architecture.py: explained_cells: step is {step!r}; a number above 0 is needed"
        )
    return float(first), float(step)


def _golden_set(folder: Path, preprocessing: Preprocessing, classes: int) -> GoldenSet:
    photos = sorted(folder.glob("*.png"))
    try:
        logits = safetensors.torch.load_file(folder / "logits.safetensors")["logits"]
        images = [decode_image(photo.read_bytes(), Limits()) for photo in photos]
    except Exception as error:
        raise BundleError(f"golden: cannot be read: {error}") from error
    if not photos or tuple(logits.shape) != (len(photos), classes):
        raise BundleError(
            f"golden: {len(photos)} photos and logits of shape {tuple(logits.shape)} "
            f"for {classes} classes"
        )
    return GoldenSet(torch.stack([preprocessing(image) for image in images]), logits.float())
