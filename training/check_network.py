"""Does a recipe's network take its options, and photos of the size that its preprocessing makes?

Asked before any photo is read, as training itself would come to it hours later.
"""

from __future__ import annotations

import importlib
import inspect

import torch
from torch import nn

from training.recipe import RecipeError
from training.spec import Recipe

# How many classes a data folder holds is not known yet, and any network takes two.
_CLASSES = 2


def check_network(recipe: Recipe) -> None:
    """Build the network without memory for its parameters, and send a photo through its shapes.

    Raises:
        RecipeError: an unknown or missing option, a value that is not allowed, or a network that
            cannot take photos of that size.
    """
    height, width = recipe.build_preprocessing().size
    with torch.device("meta"):
        model = _build(recipe)
        expected = getattr(model, "input_size", (height, width))
        if expected != (height, width):
            raise RecipeError(
                f"architecture.options.input_size = {list(expected)}: must be [{height}, {width}], "
                "the size of the photos that preprocessing makes"
            )
        try:
            model.eval()(torch.empty(1, 3, height, width))
        except (RuntimeError, ValueError) as error:
            raise RecipeError(
                f"preprocessing makes photos of {height} x {width} pixels (height x width), which "
                f"{recipe.architecture.file} cannot take: {error}"
            ) from error


def _build(recipe: Recipe) -> nn.Module:
    name, options = recipe.architecture.file, recipe.architecture.options
    build = importlib.import_module(f"training.models.{name}").build
    _, *known = inspect.signature(build).parameters.values()
    allowed = ", ".join(option.name for option in known) or "none"
    for key, value in options.items():
        if key not in {option.name for option in known}:
            raise RecipeError(
                f"architecture.options.{key} = {value!r}: unknown option of {name}; "
                f"allowed: {allowed}"
            )
    for option in known:
        if option.default is option.empty and option.name not in options:
            raise RecipeError(
                f"architecture.options.{option.name}: is missing; {name} needs it; "
                f"allowed: {allowed}"
            )
    try:
        model: nn.Module = build(_CLASSES, **options)
    except (RuntimeError, TypeError, ValueError) as error:
        raise RecipeError(f"architecture.options: {error}") from error
    return model
