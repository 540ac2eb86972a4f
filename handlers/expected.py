"""What a model's answers are expected to look like: `expected` in its card.

Whoever watches a service sets its answers beside it: where they drift apart, the photos are not
like those that the model was judged by.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

# Up to 1, those of TorchServe's histograms, spelled as there: DEFAULT_BUCKETS of the Prometheus
# client's Histogram in Java.
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1.0")
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Expected:
    """The answers to photos that the model has not learned from. Shares are of these, in 0..1.

    Attributes:
        photos: how many.
        part: of the split, that they are of.
        predicted: class -> share of the photos that it is the best class of; every class is there.
        top1_probability: bound -> share of the photos whose best class has at most that
            probability; the bounds are `BOUNDS`.
        unsure: share of the photos whose answer is called unsure.

    Raises:
        ValueError: figures that are no such shares; names the key and what is allowed.
    """

    photos: int
    part: str
    predicted: Mapping[str, float]
    top1_probability: Mapping[str, float]
    unsure: float

    def __post_init__(self) -> None:
        # bool is an int to Python alone.
        if type(self.photos) is not int or self.photos < 1:
            raise ValueError(
                f"expected.photos: {self.photos!r} is not allowed; a whole number from 1 on is"
            )
        if not isinstance(self.part, str) or not self.part:
            raise ValueError(f"expected.part: {self.part!r} is not allowed; a part's name is")
        if not _are_shares(self.predicted) or not _is_one(sum(self.predicted.values())):
            raise ValueError("expected.predicted: shares of 0 to 1 that make up 1 are needed")
        reached = self.top1_probability
        if not _are_shares(reached) or set(reached) != set(BOUNDS) or not _rises(reached):
            raise ValueError(
                f"expected.top1_probability: shares that rise to 1 are needed, by {list(BOUNDS)}"
            )
        if not _is_share(self.unsure):
            raise ValueError(f"expected.unsure: {self.unsure!r} is not allowed; 0 to 1 is")

    @classmethod
    def from_dict(cls, section: object) -> Self:
        """What a card or a run says.

        Raises:
            ValueError: not what `to_dict` gives.
        """
        keys = [known.name for known in dataclasses.fields(cls)]
        if not isinstance(section, Mapping) or set(section) != set(keys):
            raise ValueError(f"expected: an object with the keys {keys} is needed")
        return cls(**section)

    def to_dict(self) -> dict[str, Any]:
        """The mapping that `from_dict` reads."""
        return dataclasses.asdict(self)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _are_shares(value: object) -> bool:
    return isinstance(value, Mapping) and all(_is_share(each) for each in value.values())


def _is_one(share: float) -> bool:
    return math.isclose(share, 1, abs_tol=_ROUNDING)


def _rises(reached: Mapping[str, float]) -> bool:
    shares = [reached[bound] for bound in BOUNDS]
    return shares == sorted(shares) and _is_one(shares[-1])
