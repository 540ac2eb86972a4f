"""Does a recipe's network take its options, and photos of the size that its preprocessing makes?

Asked before any photo is read, as training itself would come to it hours later.
"""

from __future__ import annotations

import importlib
import inspect
from reprlib import repr as shorten

import torch
from torch import nn

from training.recipe import RecipeError
from training.spec import Recipe
from training.spec.base import thawed

# How many classes a data folder holds is not known yet, and any network takes two.
_CLASSES = 2


def check_network(recipe: Recipe) -> None:
    """Build the network without memory for its parameters, and send photos through its shapes: one
    of the size that it is evaluated at, one of that which it is trained at.

    Raises:
        RecipeError: an unknown or missing option, a value that is not allowed, or a network that
            cannot take photos of these sizes.
    """
    evaluated = recipe.preprocessing.size
    trained = recipe.augmentation.size(evaluated)
    with torch.device("meta"):
        model = _build(recipe).eval()
        expected = getattr(model, "input_size", evaluated)
        if expected != evaluated:
            raise RecipeError(
                f"architecture.options.input_size = {list(expected)}: must be {list(evaluated)}, "
                "the size of the photos that preprocessing makes"
            )
        if expected != trained and hasattr(model, "input_size"):
            raise RecipeError(
                f"augmentation.crop.size = {list(trained)}: must be {list(expected)}, the only "
                f"size that {recipe.architecture.file} takes"
            )
        _send(model, evaluated, "preprocessing", recipe)
        _send(model, trained, "augmentation.crop.size", recipe)


def _send(model: nn.Module, size: tuple[int, int], maker: str, recipe: Recipe) -> None:
    height, width = size
    try:
        model(torch.empty(1, 3, height, width))
    except (RuntimeError, ValueError) as error:
        raise RecipeError(
            f"{maker} makes photos of {height} x {width} pixels (height x width), which "
            f"{recipe.architecture.file} cannot take: {_first_line(error)}"
        ) from error


def _build(recipe: Recipe) -> nn.Module:
    name, options = recipe.architecture.file, thawed(recipe.architecture.options)
    build = importlib.import_module(f"training.models.{name}").build
    _, *known = inspect.signature(build).parameters.values()
    allowed = ", ".join(option.name for option in known) or "none"
    for key, value in options.items():
        if key not in {option.name for option in known}:
            raise RecipeError(
                f"architecture.options.{key} = {shorten(value)}: unknown option of {name}; "
                f"allowed: {allowed}"
            )
    for option in known:
        # To Python, true is a number.
        if isinstance(options.get(option.name), bool) and option.annotation not in ("bool", bool):
            raise RecipeError(
                f"architecture.options.{option.name} = {options[option.name]}: must be a value of "
                "another kind; true and false are not allowed"
            )
        if option.default is option.empty and option.name not in options:
            raise RecipeError(
                f"architecture.options.{option.name}: is missing; {name} needs it; "
                f"allowed: {allowed}"
            )
    try:
        model: nn.Module = build(_CLASSES, **options)
    except (RuntimeError, TypeError, ValueError) as error:
        raise RecipeError(f"architecture.options: {_first_line(error)}") from error
    return model


def _first_line(error: Exception) -> str:
    # torch may add a trace of its own calls.
    return str(error).partition("\n")[0]
