"""What the tables of a recipe have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from reprlib import repr as shorten
from types import MappingProxyType
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer

from handlers.preprocessing import LARGEST_SIDE

# What torch-model-archiver takes; the name also becomes a file's name and a part of addresses.
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"

Fraction = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Gt(0), Lt(1)]
Count = Annotated[int, Gt(0)]
Side = Annotated[int, Gt(0), Le(LARGEST_SIDE)]
Seed = Annotated[int, Ge(0), Lt(2**63)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]


def frozen(value: Any) -> Any:  # noqa: ANN401  (whatever TOML holds)
    """The same with tuples for lists, and tables that cannot be changed.

    Raises:
        ValueError: a part is no number, text or the like, and would not outlive a file of JSON.
    """
    if isinstance(value, Mapping):
        return MappingProxyType({key: frozen(each) for key, each in value.items()})
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    if not isinstance(value, str | int | float) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise ValueError(f"{shorten(value)}: text, true, false and finite numbers are allowed")
    return value


def thawed(value: Any) -> Any:  # noqa: ANN401  (whatever TOML holds)
    """The inverse of `frozen`: dicts and lists, as TOML and JSON have them."""
    if isinstance(value, Mapping):
        return {key: thawed(each) for key, each in value.items()}
    return list(map(thawed, value)) if isinstance(value, list | tuple) else value


# A table of any keys.
Table = Annotated[Mapping[str, Any], AfterValidator(frozen), PlainSerializer(thawed)]


class Strict(BaseModel):
    """Frozen; an unknown key and a wrong type are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
