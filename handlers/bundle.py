"""The files of an unpacked archive: all that a worker needs, and nothing of the checkout.

architecture.py            build, fold, explained_layer and explained_cells; depends on torch only
weights.safetensors        state dict, unfolded, as trained
index_to_name.json         {"0": "Abyssinian", ...}
model-card.json            what the model is; also preprocessing and calibration
openvino/                  the converted network without its weights, see `openvino_engine`
golden/NN.png              a few photos
golden/logits.safetensors  their reference logits, "logits": float32 (photos, classes)
SHA256SUMS                 of every other file
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import safetensors.torch
import torch
from torch import nn

from handlers.config import Limits, Precision
from handlers.expected import Expected
from handlers.images import decode_image
from handlers.network import BundleError, Network, is_number, load_network
from handlers.preprocessing import Preprocessing

# What decides that an answer is unsure; `handlers.predictions.sureness` computes it.
UnsureScore = Literal["probability", "max-logit", "energy"]


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
        folder: of the unpacked archive.
        card: the model card, as `GET /models/<name>?customized=true` answers it.
        class_names: in the order of the logits.
        preprocessing: photo -> input.
        golden: for the self-test at load.
    """

    folder: Path
    card: Mapping[str, Any]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    golden: GoldenSet

    @cached_property
    def network(self) -> Network:
        """PyTorch's, loaded when it is needed, and again after `release_network`.

        Raises:
            BundleError: a file of it cannot be read, or does not fit the others.
        """
        options = self.card["architecture"]["options"]
        return load_network(self.folder, options, len(self.class_names))

    @property
    def model(self) -> nn.Module:
        """See `Network.model`."""
        return self.network.model

    def release_network(self) -> None:
        """Give the memory back: another engine has what it needs of it, and only explanations will
        want it again."""
        self.__dict__.pop("network", None)

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

    def agreement(self, precision: Precision) -> tuple[float, int]:
        """Share of photos whose top class in a reduced precision was that of float32, and of how
        many; (0, 0) where it was not measured. The model had not learned from these."""
        measured = self.card.get("precisions", {}).get(precision)
        return (measured["top1_agreement"], measured["photos"]) if measured else (0.0, 0)


def load_bundle(model_dir: Path) -> Bundle:
    """Read an unpacked archive whose checksums have been verified: its architecture.py is run.

    Raises:
        BundleError: a file is missing, cannot be read, or does not fit the others.
    """
    card = _json_object(model_dir / "model-card.json")
    class_names = _class_names(model_dir / "index_to_name.json")
    _check_card(card, class_names)
    try:
        preprocessing = Preprocessing.from_dict(card["preprocessing"])
    except (ValueError, TypeError) as error:
        raise BundleError(f"model-card.json: {error}") from error
    bundle = Bundle(
        folder=model_dir,
        card=card,
        class_names=class_names,
        preprocessing=preprocessing,
        golden=_golden_set(model_dir / "golden", preprocessing, len(class_names)),
    )
    _ = bundle.network  # what is wrong with it is to be known now
    return bundle


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


def _check_card(card: dict[str, Any], class_names: tuple[str, ...]) -> None:
    problem = None
    classes = len(class_names)
    for key in ("name", "version", "architecture", "preprocessing"):
        if key not in card:
            problem = f"{key!r} is missing"
    architecture = card.get("architecture")
    temperature = card.get("temperature")
    score, threshold = card.get("unsure_score"), card.get("unsure_threshold")
    stated = card.get("sure_precision")
    if not isinstance(architecture, dict) or not isinstance(architecture.get("options"), dict):
        problem = "architecture: an object with `options` is needed"
    elif card.get("classes") != classes:
        problem = f"classes: {card.get('classes')!r}, but index_to_name.json has {classes}"
    elif not is_number(temperature) or not 0 < temperature < math.inf:
        problem = f"temperature: {temperature!r} is not allowed; a positive number is"
    elif score not in get_args(UnsureScore):
        problem = f"unsure_score: {score!r} is not allowed; one of {get_args(UnsureScore)} is"
    # The next number after 1 means: unsure of everything.
    elif score == "probability" and not (
        is_number(threshold) and 0 <= threshold <= math.nextafter(1, 2)
    ):
        problem = f"unsure_threshold: {threshold!r} is not allowed; 0 to 1 is"
    elif not is_number(threshold) or not math.isfinite(threshold):
        problem = f"unsure_threshold: {threshold!r} is not allowed; a finite number is"
    elif stated is not None and not (is_number(stated) and 0 <= stated <= 1):
        problem = f"sure_precision: {stated!r} is not allowed; 0 to 1 is, or null"
    elif not _are_precisions(card.get("precisions", {})):
        problem = (
            f"precisions: {card['precisions']!r} is not allowed; "
            '{precision: {"top1_agreement": 0 to 1, "photos": number}} is'
        )
    problem = problem or _problem_of_expected(card.get("expected", {}), class_names)
    if problem:
        raise BundleError(f"model-card.json: {problem}")


def _are_precisions(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(each, dict)
        and is_number(each.get("top1_agreement"))
        and 0 <= each["top1_agreement"] <= 1
        and isinstance(each.get("photos"), int)
        for each in value.values()
    )


def _problem_of_expected(section: object, class_names: tuple[str, ...]) -> str | None:
    """None for an empty one as well: where nothing was measured."""
    if section == {}:
        return None
    try:
        expected = Expected.from_dict(section)
    except ValueError as error:
        return str(error)
    if set(expected.predicted) != set(class_names):
        return "expected.predicted: other classes than in index_to_name.json"
    return None


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
