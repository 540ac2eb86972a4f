"""What a recipe and a data folder come to: parts of a split, and weights to begin with."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from handlers.checksums import sha256_of
from training.check_network import check_network
from training.data.dataset import Dataset, DatasetError, is_inside
from training.data.layouts import read_dataset
from training.data.scan import scan
from training.data.split import Split, split
from training.fitting.augmentation import Augmentation
from training.fitting.photos import Photos
from training.pretrained import load_pretrained
from training.spec import Recipe
from training.weights import WeightsError, fetch, weights_folder


@dataclass(frozen=True)
class Prepared:
    """All that training needs besides a device.

    Attributes:
        weights: file that everything but the head begins with; None: random.
        data: for the model card.
    """

    recipe: Recipe
    dataset: Dataset
    split: Split
    weights: Path | None
    data: Mapping[str, Any]

    @property
    def architecture(self) -> ModuleType:
        """The module of `training.models`."""
        return importlib.import_module(f"training.models.{self.recipe.architecture.file}")

    @cached_property
    def identity(self) -> dict[str, str]:
        """What a checkpoint must have been made with, to go on from it."""
        return {
            "recipe": hashlib.sha256(_without_pauses(self.recipe).encode()).hexdigest(),
            "split": self.split.hash,
            "weights": sha256_of(self.weights) if self.weights else "none",
        }

    def build(self) -> nn.Module:
        """The model as training begins: seeded, with the given weights but for its head.

        Raises:
            WeightsError: the file does not fit the architecture.
        """
        torch.manual_seed(self.recipe.training.seed)
        architecture = self.recipe.architecture
        model: nn.Module = self.architecture.build(
            len(self.dataset.classes), **architecture.options
        )
        if self.weights:
            load_pretrained(model, architecture.file, self.weights)
        return model

    def training_photos(self) -> Photos:
        """Those that are learned from, augmented."""
        preprocessing = self.recipe.preprocessing
        augmentation = Augmentation(self.recipe.augmentation, preprocessing)
        return Photos(
            self.dataset.folder,
            self.split.training,
            preprocessing,
            augmentation,
            self.recipe.training.seed,
        )

    def validation_photos(self) -> Photos:
        """Those that decide on checkpoint, temperature and threshold."""
        return self._plain(self.split.validation)

    def test_photos(self) -> Photos:
        """Those that nothing is decided on; the validation photos where there is no such part."""
        return self._plain(self.split.test or self.split.validation)

    def _plain(self, photos: tuple[Any, ...]) -> Photos:
        return Photos(self.dataset.folder, photos, self.recipe.preprocessing)


def prepare(recipe: Recipe, folder: Path, weights: str | None) -> Prepared:
    """Read, scan and split the photos; download the weights where they are not there yet.

    What is quickly told to be wrong comes first: a wrong folder is not worth a download, and wrong
    weights not a scan.

    Args:
        weights: a file instead of the recipe's, which None stands for; "none": random weights.

    Raises:
        RecipeError: the network does not take its options, or photos of the recipe's size.
        DatasetError: the folder does not hold the layout, or a part of the split is empty.
        WeightsError: they cannot be had.
    """
    check_network(recipe)
    spec = recipe.data
    dataset = read_dataset(spec.layout, folder)
    path = _weights(recipe, folder, weights)
    scanned = scan(dataset)
    parts = split(dataset, scanned, spec.validation, spec.test, spec.seed)
    for name, photos in (("training", parts.training), ("validation", parts.validation)):
        if not photos:
            raise DatasetError(
                f"{folder}: no photo is left for {name}; of {len(dataset.photos)} photos "
                f"{len(scanned.undecodable)} do not decode; `catbreeds data check` tells more"
            )
    data = {
        "layout": spec.layout,
        "validation": spec.validation,
        "test": spec.test,
        "seed": spec.seed,
        "split_hash": parts.hash,
        "training_photos": len(parts.training),
        "validation_photos": len(parts.validation),
        "test_photos": len(parts.test),
        "figures_of": "test" if parts.test else "validation",
        "not_decoded": sorted(scanned.undecodable),
        "dropped": sorted(photo.path for photo in parts.dropped),
        "rows_without_file": list(dataset.rows_without_file),
        "classes_not_split": list(parts.unsplit),
        "weights": path.name if path else "none",
    }
    return Prepared(recipe, dataset, parts, path, data)


def _weights(recipe: Recipe, folder: Path, given: str | None) -> Path | None:
    wanted = recipe.architecture.weights if given is None else given
    if wanted == "none":
        return None
    if given is None:
        if is_inside(weights_folder(), folder):
            raise WeightsError(
                f"{weights_folder()}: lies in the data folder {folder}, which is never changed; "
                "set XDG_CACHE_HOME to another folder, or name a file with --weights PATH"
            )
        return fetch(wanted)
    if not given:
        raise WeightsError("--weights: is empty; the path of a file, or none, is due")
    path = Path(given)
    if not path.is_file():
        raise WeightsError(f"--weights {path}: no such file")
    return path


def _without_pauses(recipe: Recipe) -> str:
    """How often it is saved changes nothing that is saved."""
    return recipe.model_dump_json(exclude={"training": {"checkpoint_minutes"}})
