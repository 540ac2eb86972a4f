"""Loads weights of others into a new model: everything but the head.

Files are read as data and nothing of them is executed: `.npz` without pickles, `.safetensors`, and
for anything else `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from training.models import ArchitectureName
from training.models.bit import ResNetV2
from training.models.bit_npz import NpzError, load_npz
from training.models.float32 import as_float32
from training.models.names_and_shapes import differences
from training.weights import WeightsError

# What the names of the head begin with, in the model and in the files of others; for Inception also
# what lies behind Mixed_6e.
_NOT_LOADED: Mapping[ArchitectureName, tuple[str, ...]] = {
    "bit": ("head.conv.",),
    "cnn": ("classifier.",),
    "inception": ("fc.", "AuxLogits.", "Mixed_7a.", "Mixed_7b.", "Mixed_7c."),
    "mobilenet": ("classifier.",),
    "plain_cnn": ("classifier.",),
    "resnet": ("fc.",),
    "vgg": ("classifier.",),
}
# A counter that only a momentum of None reads, which no network here has; files from before torch
# 0.4.1 lack it.
_COUNTER = ".num_batches_tracked"


def load_pretrained(model: nn.Module, architecture: ArchitectureName, path: Path) -> None:
    """Copy the weights of a file into `model`, but for the head, which stays as it is.

    Args:
        model: of that architecture; changed in place, and only where the whole file fits.
        path: a `.npz` of Big Transfer (for "bit" alone), a `.safetensors`, or a state dict saved by
            `torch.save`. `module.`, which `nn.DataParallel` puts before each name, is taken off.

    Raises:
        WeightsError: not such a file, or arrays are missing, extra, mis-shaped or not finite
            floating point, as float32; the message names the first few.
    """
    if path.suffix == ".npz":
        if not isinstance(model, ResNetV2):
            raise WeightsError(f"{path}: an .npz is for bit; {architecture} needs .pth or similar")
        try:
            load_npz(model, path, head=False)
        except NpzError as error:
            raise WeightsError(str(error)) from error
        return
    state = model.state_dict()
    found = _loaded(architecture, _read(path))
    problem = differences(_shapes(_loaded(architecture, state)), _shapes(found))
    if problem:
        raise WeightsError(f"{path}: not weights of this {architecture}; {problem}")
    for name, tensor in found.items():
        if (value := as_float32(tensor)) is None:
            raise WeightsError(
                f"{path}: {name} holds {tensor.dtype}, or infinities or NaN as float32; "
                "finite floating point is needed"
            )
        state[name] = value
    model.load_state_dict(state)


def _loaded(architecture: ArchitectureName, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What of a state dict is taken over."""
    skipped = _NOT_LOADED[architecture]
    return {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith(skipped) and not name.endswith(_COUNTER)
    }


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings():
            # torch warns about foreign pickle protocols, which it then refuses or reads.
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        # Damaged files answer with nearly any exception. torch's message is a page that recommends
        # to load the file without protection.
        raise WeightsError(
            f"{path}: not a whole state dict, or one that asks for more than tensors; "
            "nothing of it was executed"
        ) from error
    if not isinstance(loaded, dict) or not loaded:
        raise WeightsError(f"{path}: holds a {type(loaded).__name__}, not a state dict")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f"{path}: entry {ascii(name)[:100]} is a {type(value).__name__}; "
                "names with tensors are needed"
            )
    if all(name.startswith("module.") for name in loaded):
        return {name.removeprefix("module."): value for name, value in loaded.items()}
    return dict(loaded)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
