"""The answers that web/client/ gives, and how they are read from the gateway's JSON.

Every `from_json` raises KeyError, TypeError, ValueError or OverflowError where something is
missing or of another type; what it does not know it passes over.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

T = TypeVar("T")

Json = Any
_URN = "urn:catbreeds:problem:"


def _take(data: Json, name: str, kind: type[T]) -> T:
    value = data[name]
    if kind is float and type(value) is int:
        value = float(value)
    # For Python a bool is an int as well.
    if type(value) is not kind:
        raise TypeError(f"{name} is no {kind.__name__}")
    return value


def _size(data: Json) -> tuple[int, int]:
    height, width = map(int, data)
    return height, width


def _take_or_none(data: Json, name: str, kind: type[T]) -> T | None:
    return None if data[name] is None else _take(data, name, kind)


@dataclass(frozen=True)
class Problem:
    """What is wrong with one of several photos, or with a request (RFC 9457).

    Attributes:
        status: as of HTTP.
        slug: the kind, such as `unsupported-image`; empty where something before the gateway
            answered.
        request_id: the same as in the server's logs.
    """

    status: int
    slug: str
    title: str
    detail: str
    request_id: str | None

    @classmethod
    def from_json(cls, data: Json) -> Self:
        return cls(
            _take(data, "status", int),
            _take(data, "type", str).removeprefix(_URN),
            _take(data, "title", str),
            _take(data, "detail", str),
            _take_or_none(data, "request_id", str),
        )


@dataclass(frozen=True)
class Breed:
    """One class; `probability` is in 0..1."""

    breed: str
    class_id: int
    probability: float

    @classmethod
    def from_json(cls, data: Json) -> Self:
        return cls(
            _take(data, "breed", str),
            _take(data, "class_id", int),
            _take(data, "probability", float),
        )


@dataclass(frozen=True)
class Timing:
    """Milliseconds in the model server."""

    decode: float
    inference: float

    @classmethod
    def from_json(cls, data: Json) -> Self:
        return cls(_take(data, "decode", float), _take(data, "inference", float))


@dataclass(frozen=True)
class Classification:
    """One photo's breeds, best first.

    Attributes:
        unsure: whether the model's score of the answer lies below its threshold.
    """

    model: str
    version: str
    predictions: tuple[Breed, ...]
    unsure: bool
    timing_ms: Timing

    @property
    def best(self) -> Breed:
        return self.predictions[0]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        predictions = tuple(map(Breed.from_json, _take(data, "predictions", list)))
        if not predictions:
            raise ValueError("no predictions")
        return cls(
            _take(data, "model", str),
            _take(data, "version", str),
            predictions,
            _take(data, "unsure", bool),
            Timing.from_json(data["timing_ms"]),
        )


@dataclass(frozen=True)
class Cells:
    """Where the cells of a grid look, down as across, in pixels of the network's input.

    Attributes:
        first: what the first one is centred on, counted from 0; may lie between two pixels.
        step: from the centre of one to that of the next.
    """

    first: float
    step: float

    @classmethod
    def from_json(cls, data: Json) -> Self:
        return cls(_take(data, "first", float), _take(data, "step", float))


@dataclass(frozen=True)
class Explanation:
    """What in a photo speaks for a class.

    Attributes:
        grid: rows of numbers, positive where the photo speaks for the class.
        cells: where they look; None where the model's archive is older than this.
        input_size: (height, width) of the network's input in pixels; None as for `cells`.
        heatmap: the grid at that size, as PNG with transparency, to lay over the photo.
    """

    model: str
    version: str
    class_: Breed
    grid: tuple[tuple[float, ...], ...]
    cells: Cells | None
    input_size: tuple[int, int] | None
    heatmap: bytes = field(repr=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        return cls(
            _take(data, "model", str),
            _take(data, "version", str),
            Breed.from_json(data["class"]),
            tuple(tuple(map(float, row)) for row in _take(data, "grid", list)),
            None if data.get("cells") is None else Cells.from_json(data["cells"]),
            None if data.get("input_size") is None else _size(data["input_size"]),
            base64.b64decode(_take(data, "heatmap", str), validate=True),
        )


@dataclass(frozen=True)
class Input:
    """What the network sees of a photo.

    Attributes:
        resize: the length of the short side, or (height, width), in pixels.
        crop: side of the centre square that is cut out after it, in pixels.
    """

    resize: int | tuple[int, int]
    crop: int | None

    @classmethod
    def from_json(cls, data: Json) -> Self:
        resize = data["resize"]
        return cls(
            resize if type(resize) is int else _size(resize), _take_or_none(data, "crop", int)
        )


@dataclass(frozen=True)
class Model:
    """One model and what its card says.

    Attributes:
        default: the version that answers by itself.
        unsure_score: what decides that an answer is unsure: "probability", the best one;
            "max-logit", the largest logit; "energy", the log of the sum of the logits'
            exponentials.
        unsure_threshold: an answer whose score lies below it is unsure.
    """

    name: str
    default: str
    versions: tuple[str, ...]
    classes: int
    input: Input
    unsure_score: str
    unsure_threshold: float
    intended_use: str
    limitations: tuple[str, ...]
    metrics: dict[str, Any]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        return cls(
            _take(data, "name", str),
            _take(data, "default", str),
            tuple(map(str, _take(data, "versions", list))),
            _take(data, "classes", int),
            Input.from_json(data["input"]),
            _take({"unsure_score": "probability"} | data, "unsure_score", str),
            _take(data, "unsure_threshold", float),
            _take(data, "intended_use", str),
            tuple(map(str, _take(data, "limitations", list))),
            _take(data, "metrics", dict),
        )


@dataclass(frozen=True)
class Limits:
    """Most bytes and pixels of a photo, and photos of a request."""

    bytes: int
    pixels: int
    photos: int

    @classmethod
    def from_json(cls, data: Json) -> Self:
        return cls(
            _take(data, "bytes", int), _take(data, "pixels", int), _take(data, "photos", int)
        )


@dataclass(frozen=True)
class Models:
    """What is served; `url` tells whether a photo's address is taken instead of the photo."""

    default: str | None
    models: tuple[Model, ...]
    limits: Limits
    formats: str
    url: bool

    @classmethod
    def from_json(cls, data: Json) -> Self:
        return cls(
            _take_or_none(data, "default", str),
            tuple(map(Model.from_json, _take(data, "models", list))),
            Limits.from_json(data["limits"]),
            _take(data, "formats", str),
            _take(data, "url", bool),
        )
