"""The `catbreeds:` section of an archive's model-config.yaml.

    catbreeds:
      response: predictions     # or labels: TorchServe's own {label: probability}
      engine: auto              # or torch, openvino, inductor
      precision: auto           # or f32, bf16, int8
      threads: auto             # or a number
      default_top_k: 5
      limits: {bytes: 16777216, pixels: 50000000, frames: 1000, top_k: null, photos: 32}

Every key may be left out. An unknown key or an impossible value is refused at load, by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

Response = Literal["predictions", "labels"]
EngineName = Literal["torch", "openvino", "inductor"]
Precision = Literal["f32", "bf16", "int8"]

# Pillow refuses by itself to open more: twice its MAX_IMAGE_PIXELS (DecompressionBombError).
MOST_PIXELS = 178_956_970


class ConfigError(ValueError):
    """A setting cannot be used; the message names the key, the value and what is allowed."""


@dataclass(frozen=True)
class Limits:
    """What one request may ask of the worker; more is answered with 413 or 422.

    Attributes:
        bytes: size of one photo as a file, after base64.
        pixels: width times height of all photos of a request together, read from the headers
            before anything is decoded.
        frames: of an animation or a multi-page file, although only the first is looked at.
        top_k: the most predictions a request can ask for; None: all classes.
        photos: in one KServe request.
    """

    bytes: int = 16 * 1024 * 1024
    pixels: int = 50_000_000
    frames: int = 1000
    top_k: int | None = None
    photos: int = 32

    def __post_init__(self) -> None:
        _integer("limits.bytes", self.bytes, 1)
        _integer("limits.pixels", self.pixels, 1, MOST_PIXELS)
        _integer("limits.frames", self.frames, 1)
        if self.top_k is not None:
            _integer("limits.top_k", self.top_k, 1)
        _integer("limits.photos", self.photos, 1)

    @classmethod
    def from_dict(cls, section: object) -> Self:
        """Limits from a mapping; missing keys keep their defaults.

        Raises:
            ConfigError: not a mapping, an unknown key, a wrong type, an impossible value.
        """
        return cls(**_known_keys(cls, "limits", section))

    def to_dict(self) -> dict[str, int | None]:
        """The mapping that `from_dict` reads."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class HandlerConfig:
    """How the worker answers.

    Attributes:
        response: shape of a successful answer.
        engine: what computes the logits; "auto": inductor on a GPU, else OpenVINO where the
            archive holds its graph, else torch.
        precision: of the arithmetic, where model card and golden set allow it (see
            `handlers.engines`); "auto": the fastest that they allow.
        threads: of one inference on the CPU; "auto": see `handlers.cores`.
        default_top_k: predictions in an answer to a request that names no `top_k`.
        limits: see `Limits`.
    """

    response: Response = "predictions"
    engine: EngineName | Literal["auto"] = "auto"
    precision: Precision | Literal["auto"] = "auto"
    threads: int | Literal["auto"] = "auto"
    default_top_k: int = 5
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        _choice("response", self.response, get_args(Response))
        _choice("engine", self.engine, ("auto", *get_args(EngineName)))
        _choice("precision", self.precision, ("auto", *get_args(Precision)))
        if isinstance(self.threads, str):
            _choice("threads", self.threads, ("auto", "1 to 1024"))
        else:
            _integer("threads", self.threads, 1, 1024)
        _integer("default_top_k", self.default_top_k, 1)

    @classmethod
    def from_dict(cls, section: object) -> Self:
        """Configuration from the parsed `catbreeds:` section; None stands for an empty one.

        Raises:
            ConfigError: not a mapping, an unknown key, a wrong type, an impossible value.
        """
        known = _known_keys(cls, "catbreeds", section)
        if "limits" in known:
            known["limits"] = Limits.from_dict(known["limits"])
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """The mapping that `from_dict` reads."""
        return dataclasses.asdict(self)


def _known_keys(kind: type[Limits | HandlerConfig], name: str, section: object) -> dict[str, Any]:
    if section is None:
        return {}
    allowed = [known.name for known in dataclasses.fields(kind)]
    if not isinstance(section, Mapping):
        raise ConfigError(f"{name}: {section!r} is not a mapping; allowed keys: {allowed}")
    for key in section:
        if key not in allowed:
            raise ConfigError(f"{name}: unknown key {key!r}; allowed keys: {allowed}")
    return dict(section)


def _integer(key: str, value: object, least: int, most: int | None = None) -> None:
    # bool is an int to Python, but `top_k: true` is a mistake.
    in_range = (
        isinstance(value, int)
        and not isinstance(value, bool)
        and value >= least
        and (most is None or value <= most)
    )
    if not in_range:
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{key}: {value!r} is not allowed; an integer {allowed} is")


def _choice(key: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{key}: {value!r} is not allowed; one of {list(allowed)} is")
