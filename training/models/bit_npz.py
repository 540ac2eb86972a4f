"""Reads the published Big Transfer checkpoints, such as BiT-M-R50x1.npz.

Apart from `bit.py` because that file goes into every archive and depends on torch only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from training.models.bit import ResNetV2
from training.models.float32 import as_float32
from training.models.names_and_shapes import differences

_SUFFIXES = {"weight": "gamma", "bias": "beta"}
_BRANCHES = {"1": "a", "2": "b", "3": "c"}


class NpzError(Exception):
    """The file is not a checkpoint of this model; the message names the file and the arrays."""


def load_npz(model: ResNetV2, path: Path, *, head: bool = True) -> None:
    """Copy the weights of a `.npz` checkpoint into `model`; nothing of the file is executed.

    Args:
        model: changed in place, and only where the whole file fits.
        path: arrays named as in https://github.com/google-research/big_transfer, kernels HWIO.
        head: False leaves the classifier (`head.conv`) as it is, whether the file has one or
            not: for transfer to other classes than the 21,843 or 1,000 of the file.

    Raises:
        NpzError: not a readable .npz, or arrays are missing, extra, mis-shaped or not finite
            floating point, as float32.
    """
    state = model.state_dict()
    wanted = {npz_name(name): name for name in state if head or not name.startswith("head.conv.")}
    arrays = _read(path)
    if not head:
        arrays.pop("resnet/head/conv2d/kernel", None)
        arrays.pop("resnet/head/conv2d/bias", None)
    problem = differences(
        {npz: _hwio(tuple(state[name].shape)) for npz, name in wanted.items()},
        {npz: array.shape for npz, array in arrays.items()},
    )
    if problem:
        raise NpzError(f"{path}: not a checkpoint of this model; {problem}")
    for npz, array in arrays.items():
        tensor = _oihw(array) if array.dtype.kind == "f" else None
        if tensor is None or (value := as_float32(tensor)) is None:
            raise NpzError(
                f"{path}: {npz} holds {array.dtype}, or infinities or NaN as float32; "
                "finite floating point is needed"
            )
        state[wanted[npz]] = value
    model.load_state_dict(state)


def npz_name(name: str) -> str:
    """Name of a parameter of `ResNetV2` in the `.npz`.

    E.g. `body.block1.unit01.gn2.bias` -> `resnet/block1/unit01/b/group_norm/beta`.
    """
    *path, layer, suffix = name.split(".")
    if (path, layer) == (["head"], "gn"):
        return f"resnet/group_norm/{_SUFFIXES[suffix]}"
    if (path, layer) == (["head"], "conv"):
        return f"resnet/head/conv2d/{'kernel' if suffix == 'weight' else 'bias'}"
    if path == ["root"]:
        return "resnet/root_block/standardized_conv2d/kernel"
    unit = "/".join(["resnet", *path[1:]])
    if layer == "downsample":
        return f"{unit}/a/proj/standardized_conv2d/kernel"
    branch = f"{unit}/{_BRANCHES[layer[-1]]}"
    if layer.startswith("gn"):
        return f"{branch}/group_norm/{_SUFFIXES[suffix]}"
    return f"{branch}/standardized_conv2d/kernel"


def _oihw(array: np.ndarray) -> torch.Tensor:
    """In float32 and in torch's order of axes; what is too large becomes infinite."""
    ordered = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    with np.errstate(over="ignore"):
        # The copy: the file's byte order and memory layout are not torch's business.
        return torch.from_numpy(np.ascontiguousarray(ordered, dtype=np.float32))


def _hwio(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[2], shape[3], shape[1], shape[0]) if len(shape) == 4 else shape


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here: where the archive is damaged, np.load leaves its own handle open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise NpzError(f"{path}: a single array, not an .npz archive of named ones")
            return {name: archive[name] for name in archive.files}
    except NpzError:
        raise
    except OSError as error:
        raise NpzError(
            f"{path}: cannot be read as an .npz archive: {error.strerror or error}"
        ) from error
    except Exception as error:
        # A damaged archive answers with nearly any exception: BadZipFile, ValueError, EOFError,
        # KeyError, zlib.error, NotImplementedError, struct.error, SyntaxError among them. What
        # numpy says of a pickle is how to load it without protection.
        raise NpzError(
            f"{path}: cannot be read as an .npz archive: damaged, or it asks for more than arrays "
            "of numbers; nothing of it was executed"
        ) from error
