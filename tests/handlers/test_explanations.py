from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from handlers.bundle import Bundle, load_bundle
from handlers.explanations import class_id_of, enlarged, explain, hirescam
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
    logits, grid, explained = hirescam(bundle.model, bundle.explained_layer, batch, class_id)
    assert explained == (class_id if class_id is not None else int(logits.argmax()))
    assert grid.shape == (8, 8)
    head = cast(nn.Linear, bundle.model.head)
    torch.testing.assert_close(grid.mean() + head.bias[explained], logits[explained])
    with torch.inference_mode():
        torch.testing.assert_close(bundle.model(batch)[0], logits)


def test_the_model_is_left_as_it_was(bundle: Bundle) -> None:
    batch = torch.zeros(1, 3, 32, 32)
    explain(bundle, batch, None)
    assert not bundle.explained_layer._forward_hooks
    assert all(parameter.grad is None for parameter in bundle.model.parameters())
    with pytest.raises(RuntimeError):
        hirescam(bundle.model, bundle.explained_layer, torch.zeros(1, 5, 32, 32), None)
    assert not bundle.explained_layer._forward_hooks


def test_a_part_that_speaks_for_the_class_is_seen(bundle: Bundle) -> None:
    # Only the left half holds anything; what lies right of it can move no logit by more than
    # the network's answer to nothing.
    batch = torch.zeros(1, 3, 32, 32)
    batch[..., :16] = torch.randn(3, 32, 16, generator=torch.Generator().manual_seed(1)) * 4
    _, grid, _ = hirescam(bundle.model, bundle.explained_layer, batch, None)
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


@pytest.mark.parametrize("size", [(96, 96), (224, 224), (96, 160)])
def test_a_cell_is_shown_where_it_looks_at(size: tuple[int, int]) -> None:
    grid = torch.zeros(size[0] // 32, size[1] // 32)
    grid[1, 1] = 1
    strongest = (enlarged(grid, size) == enlarged(grid, size).max()).nonzero().float().mean(0)
    assert strongest.tolist() == pytest.approx([32, 32], abs=1)


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
