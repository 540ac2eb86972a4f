"""Recipes by name: everything that decides a training run, besides the photos.

A recipe is a TOML file in `training/recipes/`; `training.spec` says what may stand in it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from training.recipe_problems import as_key, in_one_line
from training.spec import Recipe

_FOLDER = Path(__file__).with_name("recipes")
# Far more than any recipe needs, and far less than what checks it could not follow.
_DEEPEST = 16
# What TOML asks of everybody who reads it (https://toml.io/en/v1.0.0#integer).
_LARGEST = 2**63 - 1
# So many characters of what was typed are repeated in a message.
_TOLD = 80


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
        # Some editors begin a file with a byte order mark, which "utf-8" would keep.
        content = _parsed(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}") from error
    except ValueError as error:
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
        _check_extent(content)
    except ValueError as error:
        raise RecipeError(f"{source}: {error}") from error
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{source}: {in_one_line(error)}") from error


def _check_extent(content: object) -> None:
    """Refuse what cannot be told in a message, nor kept in JSON for others to read.

    Raises:
        ValueError: a whole number that is too large, text that is not Unicode, or lists within
            lists within lists.
    """
    left: list[tuple[list[str], object]] = [([], content)]
    while left:
        path, value = left.pop()
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise ValueError(
                f"{'.'.join(path)}: too large; whole numbers up to {_LARGEST} are allowed"
            )
        if isinstance(value, str) and not value.isprintable():
            try:
                value.encode()
            except UnicodeEncodeError:
                # Bytes of a command line that are not UTF-8.
                raise ValueError(f"{'.'.join(path)} = {value!r}: must be Unicode text") from None
        if len(path) > _DEEPEST:
            raise ValueError(f"{'.'.join(path[:3])}: lists and tables are nested too deeply")
        parts: Iterable[tuple[object, object]] = ()
        if isinstance(value, Mapping):
            parts = value.items()
        elif isinstance(value, list | tuple):
            parts = enumerate(value)
        left += [([*path, as_key(str(key))], part) for key, part in parts]


def _change(content: dict[str, Any], change: str) -> None:
    told = change if change.isprintable() else repr(change)
    told = f"--set {told if len(told) <= _TOLD else f'{told[:_TOLD]}...'}"
    keys, equals, text = change.partition("=")
    if not (equals and all(keys.strip().split("."))):
        raise RecipeError(f"{told}: must be KEY=VALUE, such as training.batch_size=64")
    *path, last = keys.strip().split(".")
    try:
        value = _value(text.strip())
    except ValueError as error:
        raise RecipeError(f"{told}: {error}") from error
    place: Any = content
    try:
        for key in path:
            place = place[_index(key)] if isinstance(place, list) else place.setdefault(key, {})
        place[_index(last) if isinstance(place, list) else last] = value
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        is_list = isinstance(place, list)
        allowed = f"; a place from 0 to {len(place) - 1} is due there" if is_list else ""
        raise RecipeError(f"{told}: leads nowhere in the recipe{allowed}") from error


def _index(key: str) -> int:
    # `int` also takes -1, 1_0 and figures of other scripts.
    if not (key.isascii() and key.isdigit()):
        raise ValueError(f"{key!r} is no place in a list")
    return int(key)


def _value(text: str) -> Any:  # noqa: ANN401  (whatever TOML holds)
    try:
        parsed = _parsed(f"value = {text}")
    except tomllib.TOMLDecodeError:
        # A word without quotes is what people type.
        return text
    if len(parsed) > 1:
        raise ValueError("more than one value; one is allowed")
    return parsed["value"]


def _parsed(text: str) -> dict[str, Any]:
    """TOML, with ValueErrors that tell what is wrong."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("lists or tables are nested too deeply") from None
    except ValueError:
        # Python's advice about its limit of digits helps nobody here.
        raise ValueError(f"too many digits; whole numbers up to {_LARGEST} are allowed") from None
