"""What is wrong with a recipe, in words that name key, value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from reprlib import repr as shorten
from typing import Any, get_args

from pydantic import ValidationError

from training.spec import Recipe
from training.spec.base import Strict

# pydantic's kinds of errors (https://docs.pydantic.dev/latest/errors/validation_errors/) as TOML
# calls the type that it misses.
_TYPES = {
    "bool_type": "true or false",
    "dict_type": "a table of keys",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_attributes_type": "a table of keys",
    "model_type": "a table of keys",
    "string_type": "text",
    "tuple_type": "a list",
}


def in_one_line(error: ValidationError) -> str:
    """All problems of a recipe that `Recipe` has refused."""
    found: dict[str, list[str]] = {}
    problems = error.errors()
    within = {each["loc"][:depth] for each in problems for depth in range(len(each["loc"]))}
    for each in problems:
        # A list whose items are wrong is also called too short.
        if each["type"] == "too_short" and each["loc"] in within:
            continue
        place, wrong = _problem(each)
        found.setdefault(place, []).append(wrong)
    return "; ".join(_joined(place, wrong) for place, wrong in found.items())


def _joined(place: str, wrong: Sequence[str]) -> str:
    """A value that may be of several types has a problem with each of them."""
    text = " or ".join([wrong[0], *(each.removeprefix("must be ") for each in wrong[1:])])
    return f"{place}: {text}" if place else text


def _problem(each: Any) -> tuple[str, str]:  # noqa: ANN401  (pydantic's ErrorDetails)
    """Key with its value, and what is wrong with it."""
    path, tables = _follow(each["loc"])
    key, value, kind = ".".join(path), each["input"], each["type"]
    # Whole tables are not repeated: what is wrong in them the message says.
    place = key if isinstance(value, dict) else f"{key} = {shorten(value)}"
    if kind == "extra_forbidden":
        return place, f"unknown key; allowed: {', '.join(_fields(tables))}"
    if kind == "missing" and path[-1].isdigit():
        return f"{'.'.join(path[:-1])} = {shorten(value)}", "too few items"
    if kind == "missing":
        return key, "is missing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        choices = ", ".join(repr(_kind(table)) for table in tables)
        if "kind" not in value:
            return f"{key}.kind", f"is missing; one of {choices} is needed"
        return f"{key}.kind = {shorten(value['kind'])}", f"must be one of {choices}"
    if kind == "value_error":
        return key, str(each["ctx"]["error"])
    if kind in _TYPES:
        return place, f"must be {_TYPES[kind]}"
    # "Input should be less than 1", "List should have at least 1 item after validation, not 0"
    return place, re.sub(r"^\w+ should", "must", each["msg"]).replace(" after validation", "")


def _follow(places: Sequence[str | int]) -> tuple[list[str], Sequence[type[Strict]]]:
    """The path as it is written in a recipe, and the tables that may stand at its end; for a key
    that is in none of them, the tables that it stands in.

    pydantic's own path also names which type of several it has tried.
    """
    path: list[str] = []
    tables: Sequence[type[Strict]] = [Recipe]
    for place in places:
        chosen = [table for table in tables if len(tables) > 1 and _kind(table) == place]
        if chosen:
            tables = chosen
        elif isinstance(place, int) or tables:
            path.append(as_key(str(place)))
        if isinstance(place, str) and not chosen:
            fields = [table.model_fields[place] for table in tables if place in table.model_fields]
            if not fields and tables:
                return path, tables
            tables = [table for field in fields for table in _tables(field.annotation)]
    return path, tables


def as_key(text: str) -> str:
    """As TOML has it: what is no plain word stands in quotes."""
    return text if re.fullmatch(r"[\w-]{1,60}", text) else shorten(text)


def _tables(annotation: Any) -> list[type[Strict]]:  # noqa: ANN401  (any type there is)
    """Those that a value of the type may be, or hold in a list."""
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return [annotation]
    return [table for part in get_args(annotation) for table in _tables(part)]


def _fields(tables: Sequence[type[Strict]]) -> list[str]:
    return [name for table in tables for name in table.model_fields]


def _kind(table: type[Strict]) -> str:
    """What tells the table from others that may stand in its place."""
    (kind,) = get_args(table.model_fields["kind"].annotation)
    return str(kind)
