"""A recipe: everything that decides a training run, besides the photos.

A recipe is a TOML file in `training/recipes/`. Unknown keys, wrong types and impossible values are
refused with key, value and what is allowed.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from handlers.preprocessing import Preprocessing
from training.run_folder import MODEL_NAME

_FOLDER = Path(__file__).with_name("recipes")

Fraction = Annotated[float, Ge(0), Lt(1)]


class RecipeError(Exception):
    """No such recipe, or not a valid one; the message names key, value and what is allowed."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ArchitectureSpec(_Strict):
    """A module of `training.models` and the keyword arguments of its `build`."""

    file: Literal["bit"]
    options: dict[str, Any]


class DataSpec(_Strict):
    """How photos are found and split.

    Attributes:
        validation: share of the animals of each class that is held out.
        seed: of the split.
    """

    layout: Literal["cat-breeds"]
    validation: Annotated[float, Gt(0), Lt(1)]
    seed: Annotated[int, Ge(0)]


class TrainingSpec(_Strict):
    """The optimisation: SGD with Nesterov momentum under a one-cycle schedule.

    Attributes:
        learning_rate: the peak of the cycle (Smith and Topin 2019, https://arxiv.org/abs/1708.07120).
        warmup: share of the steps that rise to the peak.
        label_smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567.
        shift: the largest random shift in pixels, edges repeated.
        flip: mirror half of the photos.
        seed: of initialisation, order and augmentation.
    """

    epochs: Annotated[int, Gt(0)]
    batch_size: Annotated[int, Gt(0)]
    learning_rate: Annotated[float, Gt(0)]
    momentum: Fraction
    weight_decay: Annotated[float, Ge(0)]
    warmup: Annotated[float, Gt(0), Lt(1)]
    label_smoothing: Fraction
    shift: Annotated[int, Ge(0)]
    flip: bool
    seed: Annotated[int, Ge(0)]


class CardSpec(_Strict):
    """What the model card says in words, and the precision that `unsure` stands for.

    Attributes:
        sure_precision: of the validation answers that are not called unsure, at least this share
            is right.
    """

    sure_precision: Annotated[float, Gt(0), Lt(1)]
    intended_use: str
    limitations: list[str]
    licence_notes: list[str]


class Recipe(_Strict):
    """See the comments in `training/recipes/*.toml`."""

    name: Annotated[str, StringConstraints(pattern=MODEL_NAME)]
    architecture: ArchitectureSpec
    preprocessing: dict[str, Any]
    data: DataSpec
    training: TrainingSpec
    card: CardSpec

    def build_preprocessing(self) -> Preprocessing:
        """Photo -> input tensor, as evaluation and the worker do it."""
        # TOML has no null: a recipe without the key does not crop.
        return Preprocessing.from_dict({"crop": None, **self.preprocessing})


def recipe_names() -> list[str]:
    """The recipes that come with the project."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_recipe(name: str) -> Recipe:
    """Read a recipe by name, or from a path that ends in .toml.

    Raises:
        RecipeError: see there.
    """
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in recipe_names():
        raise RecipeError(
            f"recipe {name!r}: must be one of {', '.join(recipe_names())}, or a .toml file"
        )
    try:
        recipe = Recipe.model_validate(tomllib.loads(path.read_text()))
        recipe.build_preprocessing()
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, each['loc']))} = {each['input']!r}: {each['msg']}"
            for each in error.errors()
        )
        raise RecipeError(f"{path}: " + "; ".join(problems)) from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: {error}") from error
    return recipe
