from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import vgg as oracle

from tests.training.models.randomised import photos, randomise
from training.models import vgg

MEMBERS = {"A": [1, 1, 2, 2, 2], "D": [2, 2, 3, 3, 3], "E": [2, 2, 4, 4, 4]}


@pytest.mark.parametrize("name", MEMBERS)
def test_same_features_as_torchvision(name: str) -> None:
    expected = oracle.make_layers(oracle.cfgs[name])
    randomise(expected)
    model = vgg.build(10, convolutions=MEMBERS[name]).eval()
    model.features.load_state_dict(expected.state_dict())
    backbone, _ = vgg.backbone_and_head(model)
    x = photos(1, 96)
    with torch.inference_mode():
        features = expected(x)
        assert features.std() > 0.1
        torch.testing.assert_close(model.features(x), features, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(backbone(x), features.mean((2, 3)), rtol=1e-4, atol=1e-4)


def test_vgg_16_is_the_default_with_a_small_head() -> None:
    with torch.device("meta"):
        model = vgg.build(10)
    kinds = [type(layer) for layer in model.classifier]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert {name: list(value.shape) for name, value in model.classifier.named_parameters()} == {
        "0.weight": [256, 512],
        "0.bias": [256],
        "3.weight": [10, 256],
        "3.bias": [10],
    }
    assert sum(value.numel() for value in model.features.parameters()) == 14_714_688
    assert model.get_submodule("classifier.2").p == 0.2
