from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from training.models import bit
from training.models.bit_npz import NpzError, load_npz, npz_name

Arrays = dict[str, np.ndarray]
OPTIONS = {"units": [2, 1, 1, 1], "width": 0.25}
KERNEL = "resnet/block1/unit02/b/standardized_conv2d/kernel"


def random_member(classes: int, seed: int) -> bit.ResNetV2:
    model = bit.build(classes, **OPTIONS)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=generator))
    return model.eval()


def checkpoint(model: nn.Module) -> Arrays:
    return {
        npz_name(name): value.permute(2, 3, 1, 0).numpy() if value.ndim == 4 else value.numpy()
        for name, value in model.state_dict().items()
    }


def save(path: Path, arrays: Arrays) -> Path:
    # savez takes the names as keyword arguments, of which `file` is its own.
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def logits(model: nn.Module) -> torch.Tensor:
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(9)) * 2 - 1
    with torch.inference_mode():
        answer: torch.Tensor = model(x)
    return answer


def test_names_are_those_of_the_published_files() -> None:
    names = {
        "root.conv.weight": "resnet/root_block/standardized_conv2d/kernel",
        "body.block1.unit01.conv1.weight": "resnet/block1/unit01/a/standardized_conv2d/kernel",
        "body.block2.unit03.conv2.weight": "resnet/block2/unit03/b/standardized_conv2d/kernel",
        "body.block3.unit23.conv3.weight": "resnet/block3/unit23/c/standardized_conv2d/kernel",
        "body.block4.unit01.downsample.weight": (
            "resnet/block4/unit01/a/proj/standardized_conv2d/kernel"
        ),
        "body.block1.unit01.gn1.weight": "resnet/block1/unit01/a/group_norm/gamma",
        "body.block1.unit01.gn2.bias": "resnet/block1/unit01/b/group_norm/beta",
        "body.block1.unit01.gn3.weight": "resnet/block1/unit01/c/group_norm/gamma",
        "head.gn.weight": "resnet/group_norm/gamma",
        "head.gn.bias": "resnet/group_norm/beta",
        "head.conv.weight": "resnet/head/conv2d/kernel",
        "head.conv.bias": "resnet/head/conv2d/bias",
    }
    assert {name: npz_name(name) for name in names} == names


def test_a_round_trip_gives_the_same_logits(tmp_path: Path) -> None:
    source, target = random_member(5, seed=1), random_member(5, seed=2)
    load_npz(target, save(tmp_path / "bit.npz", checkpoint(source)))
    assert torch.equal(logits(target), logits(source))


def test_big_endian_and_half_precision_arrays_are_read(tmp_path: Path) -> None:
    source, target = random_member(5, seed=1).half().float(), random_member(5, seed=2)
    arrays = checkpoint(source)
    arrays[KERNEL] = arrays[KERNEL].astype(">f4")
    arrays["resnet/group_norm/gamma"] = arrays["resnet/group_norm/gamma"].astype(np.float16)
    load_npz(target, save(tmp_path / "bit.npz", arrays))
    assert torch.equal(logits(target), logits(source))


@pytest.mark.parametrize("file_has_a_head", [True, False])
def test_without_the_head_other_classes_keep_theirs(tmp_path: Path, file_has_a_head: bool) -> None:
    source, target = random_member(7, seed=1), random_member(5, seed=2)
    head = {name: target.state_dict()[name].clone() for name in target.state_dict()}
    arrays = checkpoint(source)
    if not file_has_a_head:
        del arrays["resnet/head/conv2d/kernel"], arrays["resnet/head/conv2d/bias"]
    load_npz(target, save(tmp_path / "bit.npz", arrays), head=False)
    for name, value in target.state_dict().items():
        loaded = head if name.startswith("head.conv.") else source.state_dict()
        assert torch.equal(value, loaded[name]), name


def without(arrays: Arrays) -> None:
    del arrays[KERNEL]


def with_extra(arrays: Arrays) -> None:
    arrays["resnet/block9/unit01/a/group_norm/beta"] = np.zeros(3, np.float32)


def in_torch_layout(arrays: Arrays) -> None:
    arrays[KERNEL] = arrays[KERNEL].transpose(3, 2, 0, 1)


def of_integers(arrays: Arrays) -> None:
    arrays[KERNEL] = arrays[KERNEL].astype(np.int64)


def of_objects(arrays: Arrays) -> None:
    arrays[KERNEL] = np.array([print], dtype=object)


def of_no_numbers(arrays: Arrays) -> None:
    arrays[KERNEL][0, 0, 0, 0] = np.nan


def too_large(arrays: Arrays) -> None:
    arrays[KERNEL] = np.full(arrays[KERNEL].shape, 1e300)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (without, f"missing: {KERNEL}"),
        (with_extra, "extra: resnet/block9/unit01/a/group_norm/beta"),
        (in_torch_layout, f"wrong shape: {KERNEL} 16x16x3x3 instead of 3x3x16x16"),
        (of_integers, f"{KERNEL} holds int64"),
        (of_objects, "asks for more than arrays of numbers; nothing of it was executed"),
        (of_no_numbers, f"{KERNEL} holds float32, or infinities or NaN"),
        (too_large, f"{KERNEL} holds float64, or infinities or NaN as float32"),
    ],
)
def test_a_wrong_file_is_named_and_changes_nothing(
    tmp_path: Path, spoil: Callable[[Arrays], None], named: str
) -> None:
    arrays = checkpoint(random_member(5, seed=1))
    spoil(arrays)
    target = random_member(5, seed=2)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(NpzError, match=re.escape(named)) as caught:
        load_npz(target, save(tmp_path / "bit.npz", arrays))
    assert "bit.npz" in str(caught.value)
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())


def test_the_head_of_another_class_count_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "bit.npz", checkpoint(random_member(7, seed=1)))
    with pytest.raises(NpzError, match="resnet/head/conv2d/kernel 1x1x512x7 instead of 1x1x512x5"):
        load_npz(random_member(5, seed=2), path)


def test_a_pickle_is_refused_without_numpys_advice_to_load_it_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "bit.npz"
    path.write_bytes(pickle.dumps({"kernel": 1}))
    with pytest.raises(NpzError, match="nothing of it was executed") as caught:
        load_npz(random_member(5, seed=2), path)
    assert "allow_pickle" not in str(caught.value)


def npy_bytes() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive", npy_bytes()])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bit.npz"
    path.write_bytes(content)
    with pytest.raises(NpzError, match=r"bit\.npz"):
        load_npz(random_member(5, seed=2), path)


def test_a_missing_or_cut_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NpzError, match="cannot be read"):
        load_npz(random_member(5, seed=2), tmp_path / "none.npz")
    path = save(tmp_path / "bit.npz", checkpoint(random_member(5, seed=1)))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(NpzError, match="cannot be read"):
        load_npz(random_member(5, seed=2), path)
