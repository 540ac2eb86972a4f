from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet as oracle

from tests.training.models.randomised import photos, randomise
from training.models import resnet

MEMBERS = {"18": [2, 2, 2, 2], "34": [3, 4, 6, 3]}


@pytest.mark.parametrize("name", MEMBERS)
def test_same_logits_as_torchvision(name: str) -> None:
    expected = oracle.ResNet(oracle.BasicBlock, MEMBERS[name], num_classes=37)
    randomise(expected)
    model = resnet.build(37, layers=MEMBERS[name]).eval()
    model.load_state_dict(expected.state_dict())
    x = photos(2, 224)
    with torch.inference_mode():
        logits = expected(x)
        assert logits.std() > 0.1
        torch.testing.assert_close(model(x), logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(resnet.fold(model)(x), logits, rtol=1e-3, atol=1e-3)


def test_resnet_34_is_the_default_and_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = resnet.build(1000)
    assert sum(value.numel() for value in model.parameters()) == 21_797_672


def test_new_weights_are_as_he_et_al_have_them() -> None:
    torch.manual_seed(0)
    model = resnet.build(2, layers=[1, 1, 1, 1])
    weight = model.get_parameter("layer3.0.conv2.weight")
    assert float(weight.detach().std()) == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)
