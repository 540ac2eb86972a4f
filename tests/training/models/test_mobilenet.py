from __future__ import annotations

import pytest
import torch
from torchvision.models import mobilenetv2 as oracle

from tests.training.models.randomised import photos, randomise
from training.models import mobilenet


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.0, 1.4])
def test_same_logits_as_torchvision(width: float) -> None:
    expected = oracle.MobileNetV2(num_classes=67, width_mult=width)
    randomise(expected)
    model = mobilenet.build(67, width=width).eval()
    model.load_state_dict(expected.state_dict())
    x = photos(2, 128)
    with torch.inference_mode():
        logits = expected(x)
        assert logits.std() > 0.1
        torch.testing.assert_close(model(x), logits, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(mobilenet.fold(model)(x), logits, rtol=1e-2, atol=1e-2)


def test_dropout_is_an_option() -> None:
    model = mobilenet.build(2, width=0.25, dropout=0.35)
    assert model.get_submodule("classifier.0").p == 0.35
    assert mobilenet.build(2, width=0.25).get_submodule("classifier.0").p == 0.2
