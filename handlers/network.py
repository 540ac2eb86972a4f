"""The network of an unpacked archive, in PyTorch."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

import safetensors.torch
import torch
from torch import nn


class BundleError(Exception):
    """A file of the archive does not hold what it should; the message names the file."""


@dataclass(frozen=True)
class Network:
    """The model in PyTorch.

    Attributes:
        model: float32, folded for inference, evaluation mode, gradients off.
        explained_layer: of `model`; puts out the last feature map with a height and a width.
        explained_cells: (pixel that its first cell is centred on, pixels from a cell to the next),
            the same down and across.
    """

    model: nn.Module
    explained_layer: nn.Module
    explained_cells: tuple[float, float]


def load_network(model_dir: Path, options: dict[str, Any], classes: int) -> Network:
    """Run architecture.py, build the network and load its weights.

    Args:
        options: keyword arguments of the architecture's `build`, beside the number of classes.

    Raises:
        BundleError: a file cannot be read, or does not fit the others.
    """
    architecture = _architecture(model_dir / "architecture.py")
    model = _model(architecture, options, classes, model_dir)
    try:
        explained_layer: nn.Module = architecture.explained_layer(model)
    except Exception as error:
        raise BundleError(f"architecture.py: explained_layer: {error}") from error
    return Network(model, explained_layer, _explained_cells(architecture, model))


def _model(
    architecture: ModuleType, options: dict[str, Any], classes: int, model_dir: Path
) -> nn.Module:
    try:
        model: nn.Module = architecture.build(classes, **options)
        state = safetensors.torch.load_file(model_dir / "weights.safetensors")
        model.load_state_dict(state, strict=True)
    except Exception as error:
        raise BundleError(f"weights.safetensors: do not fit architecture.py: {error}") from error
    try:
        folded: nn.Module = architecture.fold(model.eval())
    except Exception as error:
        raise BundleError(f"architecture.py: fold: {error}") from error
    folded.requires_grad_(False)
    return folded.eval().to(memory_format=torch.channels_last)


def _architecture(path: Path) -> ModuleType:
    # By path and under a name of its own: a checkout on sys.path must not come first.
    spec = importlib.util.spec_from_file_location("catbreeds_architecture", path)
    if spec is None or spec.loader is None:
        raise BundleError(f"{path.name}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BundleError(f"{path.name}: {type(error).__name__}: {error}") from error
    for name in ("build", "fold", "explained_layer", "explained_cells"):
        if not callable(getattr(module, name, None)):
            raise BundleError(f"{path.name}: function {name} is missing")
    return module


def _explained_cells(architecture: ModuleType, model: nn.Module) -> tuple[float, float]:
    try:
        first, step = architecture.explained_cells(model)
    except Exception as error:
        raise BundleError(f"architecture.py: explained_cells: {error}") from error
    if not (is_number(first) and math.isfinite(first)):
        raise BundleError(
            f"architecture.py: explained_cells: first is {first!r}; a number is needed"
        )
    if not (is_number(step) and 0 < step < math.inf):
        raise BundleError(
            f"architecture.py: explained_cells: step is {step!r}; a number above 0 is needed"
        )
    return float(first), float(step)


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is one to JSON: bool is an int to Python alone."""
    return isinstance(value, int | float) and not isinstance(value, bool)
