from __future__ import annotations

import base64
import importlib
import io
import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from handlers.bundle import Bundle, load_bundle
from handlers.explanations import class_id_of, enlarged, explain, hirescam
from handlers.network import BundleError
from handlers.problems import InvalidOption

NAMES = ("Abyssinian", "Bengal", "3")


@pytest.fixture(scope="module")
def bundle(sealed_model_dir: Path) -> Bundle:
    return load_bundle(sealed_model_dir)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), class_id=st.none() | st.integers(0, 5))
def test_mean_of_the_map_plus_bias_is_the_logit(
    bundle: Bundle, seed: int, class_id: int | None
) -> None:
    batch = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    logits, grid, explained = hirescam(
        bundle.model, bundle.network.explained_layer, batch, class_id
    )
    assert explained == (class_id if class_id is not None else int(logits.argmax()))
    assert grid.shape == (8, 8)
    head = cast(nn.Linear, bundle.model.head)
    torch.testing.assert_close(grid.mean() + head.bias[explained], logits[explained])
    with torch.inference_mode():
        torch.testing.assert_close(bundle.model(batch)[0], logits)


def test_the_model_is_left_as_it_was(bundle: Bundle) -> None:
    batch = torch.zeros(1, 3, 32, 32)
    explain(bundle, batch, None)
    assert not bundle.network.explained_layer._forward_hooks
    assert all(parameter.grad is None for parameter in bundle.model.parameters())
    with pytest.raises(RuntimeError):
        hirescam(bundle.model, bundle.network.explained_layer, torch.zeros(1, 5, 32, 32), None)
    assert not bundle.network.explained_layer._forward_hooks


def test_a_part_that_speaks_for_the_class_is_seen(bundle: Bundle) -> None:
    # Only the left half holds anything; what lies right of it can move no logit by more than
    # the network's answer to nothing.
    batch = torch.zeros(1, 3, 32, 32)
    batch[..., :16] = torch.randn(3, 32, 16, generator=torch.Generator().manual_seed(1)) * 4
    _, grid, _ = hirescam(bundle.model, bundle.network.explained_layer, batch, None)
    assert grid[:, :4].abs().mean() > 3 * grid[:, 5:].abs().mean()


def test_answer(bundle: Bundle) -> None:
    batch = bundle.golden.inputs[:1]
    answer = explain(bundle, batch, "Sphynx")
    assert (answer["model"], answer["version"]) == ("tiny", "1.2")
    assert answer["class"]["breed"] == "Sphynx"
    assert answer["class"]["class_id"] == 4
    expected = (bundle.golden.logits[0] / 1.5).softmax(0)
    assert answer["class"]["probability"] == pytest.approx(float(expected[4]), abs=1e-5)
    assert len(answer["grid"]) == len(answer["grid"][0]) == 8
    heat_map = Image.open(io.BytesIO(base64.b64decode(answer["heatmap"])))
    assert (heat_map.format, heat_map.mode, heat_map.size) == ("PNG", "RGBA", (32, 32))
    assert explain(bundle, batch, "Sphynx") == answer == explain(bundle, batch, 4)
    top = int(bundle.golden.logits[0].argmax())
    assert explain(bundle, batch, None)["class"]["class_id"] == top


@pytest.mark.parametrize("cells", [(0.0, 32.0), (7.5, 16.0), (15.5, 32.0), (21.0, 16.0)])
@pytest.mark.parametrize("size", [(96, 96), (224, 224), (96, 160)])
def test_a_cell_is_shown_where_it_looks_at(
    size: tuple[int, int], cells: tuple[float, float]
) -> None:
    first, step = cells
    grid = torch.zeros(*(int((side - first) / step) + 1 for side in size))
    grid[1, 1] = 1
    map_ = enlarged(grid, size, cells)
    strongest = (map_ == map_.max()).nonzero().double().mean(0)
    assert strongest.tolist() == pytest.approx([first + step] * 2)


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    first=st.floats(-40, 40),
    step=st.floats(0.5, 64),
    seed=st.integers(0, 99),
)
def test_between_the_cells_the_map_is_linear_and_outside_it_stays(
    height: int, width: int, first: float, step: float, seed: int
) -> None:
    grid = torch.randn(height, width, generator=torch.Generator().manual_seed(seed))
    size = (50, 70)
    rows, columns = (
        np.interp(np.arange(side), first + step * np.arange(count), np.eye(count)[:, index])
        for side, count, index in ((size[0], height, height // 2), (size[1], width, width // 2))
    )
    one = torch.zeros(height, width)
    one[height // 2, width // 2] = 1
    np.testing.assert_allclose(
        enlarged(one, size, (first, step)).numpy(), np.outer(rows, columns), atol=1e-6
    )
    map_ = enlarged(grid, size, (first, step))
    assert map_.dtype == torch.float32
    assert map_.shape == size
    assert grid.min() - 1e-5 <= map_.min() <= map_.max() <= grid.max() + 1e-5


def test_heat_maps_of_resnets_lie_where_they_always_lay() -> None:
    """As bilinear interpolation that is moved by half a cell."""
    grid = torch.randn(7, 7, generator=torch.Generator().manual_seed(0))
    half = nn.functional.interpolate(grid[None, None], size=(224, 224), mode="bilinear")[0, 0]
    moved = enlarged(grid, (224, 224), (0.0, 32.0))
    assert (moved[:200, :200] - half[16:216, 16:216]).abs().max() < 0.1


def test_a_map_of_nothing_is_transparent(bundle: Bundle) -> None:
    dark = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 6))
    for parameter in dark.parameters():
        parameter.requires_grad_(False).zero_()
    _, grid, class_id = hirescam(dark, dark[0], torch.ones(1, 3, 4, 4), None)
    assert class_id == 0
    assert grid.isfinite().all()


@pytest.mark.parametrize(
    ("target", "class_id"), [("Bengal", 1), ("3", 2), (0, 0), ("1", 1), ("0", 0), (2, 2)]
)
def test_a_class_is_found_by_name_first_and_by_id(target: str | int, class_id: int) -> None:
    assert class_id_of(target, NAMES) == class_id


@pytest.mark.parametrize(
    "target", ["bengal", "", "-1", -1, 3, "4", 10**30, "9" * 5000, "²", "x" * 999]
)
def test_an_unknown_class_is_refused(target: str | int) -> None:
    with pytest.raises(InvalidOption, match=r"^class: .* id from 0 to 2 is$") as caught:
        class_id_of(target, NAMES)
    assert len(caught.value.detail) < 200


# Small ones, the side of the photos and how many cells the map has on a side.
ARCHITECTURES: dict[str, tuple[dict[str, Any], int, int]] = {
    "bit": ({"units": [1, 1, 1, 1], "width": 0.125}, 64, 2),
    "cnn": ({"input_size": [96, 96], "width": 0.0625}, 96, 3),
    "inception": ({"input_size": [107, 107], "width": 0.125, "hidden": 8}, 107, 5),
    "mobilenet": ({"width": 0.25}, 64, 2),
    "plain_cnn": ({"input_size": [64, 64], "channels": [4, 8], "hidden": 8}, 64, 29),
    "resnet": ({"layers": [1, 1, 1, 1], "width": 0.25}, 64, 2),
    "vgg": ({"convolutions": [1, 1, 1, 1, 1], "width": 0.125}, 64, 4),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_explains_itself(name: str, model_dir: Path) -> None:
    options, side, cells = ARCHITECTURES[name]
    architecture = importlib.import_module(f"training.models.{name}")
    shutil.copy(str(architecture.__file__), model_dir / "architecture.py")
    torch.manual_seed(0)
    model = architecture.build(6, **options).eval()
    if name == "bit":
        nn.init.normal_(model.state_dict()["head.conv.weight"])
    safetensors.torch.save_file(model.state_dict(), model_dir / "weights.safetensors")
    card = json.loads((model_dir / "model-card.json").read_text())
    card["architecture"]["options"] = options
    card["preprocessing"] |= {"resize": side, "crop": side}
    (model_dir / "model-card.json").write_text(json.dumps(card))

    bundle = load_bundle(model_dir)
    batch = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    answer = explain(bundle, batch, "Sphynx")
    assert len(answer["grid"]) == len(answer["grid"][0]) == cells
    heat_map = Image.open(io.BytesIO(base64.b64decode(answer["heatmap"])))
    assert heat_map.size == (side, side)
    assert np.asarray(heat_map)[..., 3].max() == 200
    logits, grid, _ = hirescam(bundle.model, bundle.network.explained_layer, batch, 4)
    assert bundle.network.explained_cells == architecture.explained_cells(model)
    assert tuple(answer["cells"].values()) == bundle.network.explained_cells
    assert answer["input_size"] == [side, side]
    if name in ("bit", "mobilenet", "resnet"):
        _, head = architecture.backbone_and_head(bundle.model)
        bias = list(head.parameters())[-1]
        torch.testing.assert_close(grid.mean() + bias[4], logits[4])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("return None", "explained_cells: cannot unpack"),
        ("return 1.0, 2.0, 3.0", "explained_cells: too many values"),
        ("return float('nan'), 4.0", "explained_cells: first is nan; a number is needed"),
        ("return '0', 4.0", "explained_cells: first is '0'"),
        ("return 0.0, 0", "explained_cells: step is 0; a number above 0 is needed"),
        ("return 0.0, float('inf')", "explained_cells: step is inf"),
        ("return 0.0, True", "explained_cells: step is True"),
        ("raise RuntimeError('no map')", "explained_cells: no map"),
    ],
)
def test_cells_that_are_none_are_refused(model_dir: Path, returned: str, message: str) -> None:
    source = (model_dir / "architecture.py").read_text()
    assert source.count("return 0.0, 4.0") == 1
    (model_dir / "architecture.py").write_text(source.replace("return 0.0, 4.0", returned))
    with pytest.raises(BundleError, match=r"architecture\.py: " + message):
        load_bundle(model_dir)


def test_an_architecture_that_does_not_tell_its_cells_is_refused(model_dir: Path) -> None:
    source = (model_dir / "architecture.py").read_text()
    (model_dir / "architecture.py").write_text(source.replace("explained_cells", "other"))
    with pytest.raises(BundleError, match="function explained_cells is missing"):
        load_bundle(model_dir)
