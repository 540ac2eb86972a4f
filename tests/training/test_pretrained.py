from __future__ import annotations

import importlib
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from training.models import ArchitectureName
from training.models.bit_npz import npz_name
from training.pretrained import load_pretrained
from training.weights import WeightsError

State = dict[str, Any]
OPTIONS: dict[ArchitectureName, dict[str, Any]] = {
    "bit": {"units": [1, 1, 1, 1], "width": 0.125},
    "cnn": {"width": 1 / 64, "input_size": [64, 64]},
    "inception": {"width": 1 / 16, "hidden": 2},
    "mobilenet": {"width": 0.1},
    "plain_cnn": {"channels": [2, 3], "hidden": 4, "input_size": [32, 32]},
    "resnet": {"layers": [1, 1, 1, 1], "width": 1 / 16},
    "vgg": {"convolutions": [1, 1, 1, 1, 1], "width": 1 / 16},
}
# In the files of torchvision, behind the part that a new model starts from.
OF_OTHERS = {
    "inception": ("fc.weight", "AuxLogits.conv0.conv.weight", "Mixed_7a.branch3x3_1.conv.weight"),
    "vgg": ("classifier.0.weight", "classifier.3.weight", "classifier.6.bias"),
}


def build(name: ArchitectureName, classes: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model: nn.Module = importlib.import_module(f"training.models.{name}").build(
        classes, **OPTIONS[name]
    )
    for value in model.state_dict().values():
        if value.is_floating_point():
            nn.init.normal_(value)
    return model


def head_of(name: ArchitectureName, model: nn.Module) -> set[str]:
    _, head = importlib.import_module(f"training.models.{name}").backbone_and_head(model)
    parameters = {id(value) for value in head.parameters()}
    return {key for key, value in model.named_parameters() if id(value) in parameters}


def save(path: Path, state: State) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    elif path.suffix == ".npz":
        arrays = {
            npz_name(name): (value.permute(2, 3, 1, 0) if value.ndim == 4 else value).numpy()
            for name, value in state.items()
        }
        np.savez(path, **arrays)
    else:
        torch.save(OrderedDict(state), path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ""])
@pytest.mark.parametrize("name", get_args(ArchitectureName))
def test_everything_but_the_head_is_loaded(
    name: ArchitectureName, suffix: str, tmp_path: Path
) -> None:
    source, target = build(name, 9, seed=1), build(name, 4, seed=2)
    state = source.state_dict()
    state |= {key: torch.zeros(3, 3) for key in OF_OTHERS.get(name, ())}
    before = {key: value.clone() for key, value in target.state_dict().items()}
    load_pretrained(target, name, save(tmp_path / f"weights{suffix}", state))
    head = head_of(name, target)
    assert head
    for key, value in target.state_dict().items():
        assert torch.equal(value, (before if key in head else state)[key]), key


@pytest.mark.parametrize("name", get_args(ArchitectureName))
def test_a_head_of_the_same_classes_stays_as_well(name: ArchitectureName, tmp_path: Path) -> None:
    """Whether its classes come in the same order nobody can tell."""
    source, target = build(name, 4, seed=1), build(name, 4, seed=2)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    load_pretrained(target, name, save(tmp_path / "weights.pth", source.state_dict()))
    head = head_of(name, target)
    assert all(torch.equal(target.state_dict()[key], before[key]) for key in head)


def test_the_npz_of_big_transfer(tmp_path: Path) -> None:
    source, target = build("bit", 9, seed=1), build("bit", 4, seed=2)
    load_pretrained(target, "bit", save(tmp_path / "bit.npz", source.state_dict()))
    for key, value in target.state_dict().items():
        assert key.startswith("head.conv.") or torch.equal(value, source.state_dict()[key])
    with pytest.raises(WeightsError, match=r"bit\.npz: an \.npz is for bit; resnet needs"):
        load_pretrained(build("resnet", 4, seed=1), "resnet", tmp_path / "bit.npz")
    (tmp_path / "bit.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(WeightsError, match=r"bit\.npz: cannot be read as an \.npz archive"):
        load_pretrained(target, "bit", tmp_path / "bit.npz")


def test_data_parallel_half_precision_and_old_batch_norms(tmp_path: Path) -> None:
    source, target = build("resnet", 9, seed=1), build("resnet", 4, seed=2)
    old = {
        f"module.{name}": value.half()
        for name, value in source.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    load_pretrained(target, "resnet", save(tmp_path / "weights.pth", old))
    loaded = target.state_dict()["layer1.0.conv1.weight"]
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, source.state_dict()["layer1.0.conv1.weight"].half().float())


CONV = "layer2.0.conv1.weight"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_other_floating_point_is_converted(tmp_path: Path, dtype: torch.dtype) -> None:
    source, target = build("resnet", 9, seed=1), build("resnet", 4, seed=2)
    state = source.state_dict()
    state[CONV] = state[CONV].to(dtype)
    load_pretrained(target, "resnet", save(tmp_path / "weights.pth", state))
    assert torch.equal(target.state_dict()[CONV], state[CONV].float())


def drop(state: State) -> None:
    del state[CONV]


def drop_all(state: State) -> None:
    for name in [name for name in state if name.startswith("layer")]:
        del state[name]


def add(state: State) -> None:
    state["layer5.0.conv1.weight"] = torch.zeros(1)


def reshape(state: State) -> None:
    state[CONV] = state[CONV][:, :1].clone()


def round_off(state: State) -> None:
    state[CONV] = state[CONV].int()


def spoil(state: State) -> None:
    state[CONV][0] = float("nan")


def overflow(state: State) -> None:
    state[CONV] = torch.full(state[CONV].shape, 1e300, dtype=torch.float64)


def spoil_an_eighth(state: State) -> None:
    state[CONV] = torch.full(state[CONV].shape, float("nan")).to(torch.float8_e4m3fn)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (drop, f"missing: {CONV}$"),
        (drop_all, r"missing: layer1\.0\.conv1\.weight, .* and \d+ more$"),
        (add, r"extra: layer5\.0\.conv1\.weight$"),
        (reshape, rf"wrong shape: {CONV} 8x1x3x3 instead of 8x4x3x3$"),
        (round_off, rf"{CONV} holds torch\.int32, .* finite floating point is needed"),
        (spoil, rf"{CONV} holds .* NaN"),
        (overflow, rf"{CONV} holds torch\.float64, or infinities or NaN as float32"),
        (spoil_an_eighth, rf"{CONV} holds torch\.float8_e4m3fn, or infinities or NaN"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(
    change: Callable[[State], None], named: str, suffix: str, tmp_path: Path
) -> None:
    state = build("resnet", 9, seed=1).state_dict()
    change(state)
    target = build("resnet", 4, seed=2)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    path = save(tmp_path / f"weights{suffix}", state)
    with pytest.raises(WeightsError, match=named) as caught:
        load_pretrained(target, "resnet", path)
    assert str(caught.value).startswith(f"{path}: ")
    assert all(torch.equal(before[key], value) for key, value in target.state_dict().items())


def test_weights_of_another_architecture_are_told_in_a_short_line(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pth", build("mobilenet", 4, seed=1).state_dict())
    with pytest.raises(WeightsError, match="not weights of this resnet; missing: ") as caught:
        load_pretrained(build("resnet", 4, seed=2), "resnet", path)
    assert len(str(caught.value)) < 1000


class Trap:
    """Unpickling it would make a file."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.made,)


@pytest.mark.parametrize(
    "writer", [torch.save, lambda it, path: path.write_bytes(pickle.dumps(it))]
)
def test_nothing_of_a_file_is_executed(
    writer: Callable[[object, Path], object], tmp_path: Path
) -> None:
    path, made = tmp_path / "weights.pth", tmp_path / "made"
    writer({"fc.weight": torch.zeros(1), "trap": Trap(made)}, path)
    with pytest.raises(WeightsError, match="nothing of it was executed") as caught:
        load_pretrained(build("resnet", 4, seed=1), "resnet", path)
    assert not made.exists()
    assert "weights_only=False" not in str(caught.value)


def whole(suffix: str, folder: Path) -> bytes:
    return save(folder / f"whole{suffix}", build("resnet", 4, seed=1).state_dict()).read_bytes()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[100:],
        lambda content: b"<html>not found</html>",
        lambda content: bytes(1000),
    ],
    ids=["empty", "half", "one byte less", "no beginning", "page", "zeros"],
)
def test_damaged_files_are_refused(
    damage: Callable[[bytes], bytes], suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(damage(whole(suffix, tmp_path)))
    with pytest.raises(WeightsError, match=f"^{path}: ") as caught:
        load_pretrained(build("resnet", 4, seed=2), "resnet", path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[], {}, torch.zeros(3), {"a": 1}, {1: torch.zeros(1)}])
def test_what_is_no_state_dict_is_named(content: object, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"not a state dict|names with tensors are needed"):
        load_pretrained(build("resnet", 4, seed=2), "resnet", path)


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_a_missing_file_is_named(suffix: str, tmp_path: Path) -> None:
    for path in (tmp_path / f"none{suffix}", tmp_path):
        with pytest.raises(WeightsError, match=f"^{path}: "):
            load_pretrained(build("bit", 4, seed=2), "bit", path)


def test_names_from_a_file_cannot_reach_the_terminal_raw(tmp_path: Path) -> None:
    state: dict[str, Tensor] = {"\x1b[2J\n": torch.zeros(1)}
    with pytest.raises(WeightsError) as caught:
        load_pretrained(build("bit", 4, seed=2), "bit", save(tmp_path / "weights.pth", state))
    assert str(caught.value).isprintable()
