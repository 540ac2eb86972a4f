"""What the tables of a recipe have in common."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Lt
from pydantic import BaseModel, ConfigDict

# What torch-model-archiver takes; the name also becomes a file's name and a part of addresses.
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"

Fraction = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Gt(0), Lt(1)]
Count = Annotated[int, Gt(0)]
Seed = Annotated[int, Ge(0), Lt(2**63)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]


class Strict(BaseModel):
    """Frozen; an unknown key and a wrong type are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
