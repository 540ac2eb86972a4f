from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.training.models.randomised import photos, randomise
from training.models import cnn


def test_two_classes_take_2_668_418_parameters() -> None:
    with torch.device("meta"):
        model = cnn.build(2)
    assert sum(value.numel() for value in model.parameters()) == 2_668_418
    assert model.classifier.in_features == 4608 == 512 * 3 * 3


def test_the_third_block_runs_four_times_with_the_same_weights() -> None:
    model = cnn.build(2, width=0.0625)
    randomise(model)
    shapes: list[tuple[int, ...]] = []
    model.features.block3.register_forward_hook(
        lambda _m, _i, output: shapes.append(tuple(output.shape))
    )
    seen: list[Tensor] = []
    cnn.explained_layer(model).register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.inference_mode():
        model(photos(1, 224))
    assert shapes == [(1, 32, side, side) for side in (56, 28, 14, 7)]
    assert [each.shape for each in seen] == [(1, 32, 7, 7)]


@pytest.mark.parametrize("size", [(64, 64), (65, 127), (192, 224)])
def test_any_size_that_the_network_was_built_for(size: tuple[int, int]) -> None:
    model = cnn.build(3, input_size=list(size), width=0.0625).eval()
    with torch.inference_mode():
        assert model(photos(1, *size)).shape == (1, 3)
        with pytest.raises(ValueError, match=r"a photo of \(99, 99\); input_size is"):
            model(photos(1, 99))
