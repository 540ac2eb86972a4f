"""Recipes by name: everything that decides a training run, besides the photos.

A recipe is a TOML file in `training/recipes/`; `training.spec` says what may stand in it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from training.recipe_problems import in_one_line
from training.spec import Recipe

_FOLDER = Path(__file__).with_name("recipes")


class RecipeError(Exception):
    """No such recipe, or not a valid one; the message names key, value and what is allowed."""


def recipe_names() -> list[str]:
    """The recipes that come with the project."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def recipe_path(name: str) -> Path:
    """The file of a recipe: by name, or a path that ends in .toml.

    Raises:
        RecipeError: there is none of that name.
    """
    if name.endswith(".toml"):
        return Path(name)
    if name not in recipe_names():
        raise RecipeError(
            f"recipe {name!r}: must be one of {', '.join(recipe_names())}, or a .toml file"
        )
    return _FOLDER / f"{name}.toml"


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: see `recipe_path`.
        changes: as `training.batch_size=64`: a path of keys, numbers for the places of a list
            (`training.phases.0.epochs=2`), and a value as TOML writes it.

    Raises:
        RecipeError: see there.
    """
    path = recipe_path(name)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: {error}") from error
    for change in changes:
        _change(content, change)
    return parse_recipe(content, str(path))


def parse_recipe(content: object, source: str) -> Recipe:
    """A recipe from parsed TOML or JSON.

    Raises:
        RecipeError: it says what is wrong in `source`.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{source}: {in_one_line(error)}") from error


def _change(content: dict[str, Any], change: str) -> None:
    keys, equals, value = change.partition("=")
    if not (equals and all(keys.strip().split("."))):
        raise RecipeError(f"--set {change}: must be KEY=VALUE, such as training.batch_size=64")
    *path, last = keys.strip().split(".")
    place: Any = content
    try:
        for key in path:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        index = int(last) if isinstance(place, list) else last
        place[index] = _value(value.strip())
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise RecipeError(f"--set {change}: {keys} leads nowhere in the recipe") from error


def _value(text: str) -> Any:  # noqa: ANN401  (whatever TOML holds)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        # A word without quotes is what people type.
        return text
