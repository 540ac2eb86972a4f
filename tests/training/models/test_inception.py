from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import inception as oracle

from tests.training.models.randomised import photos, randomise
from training.models import inception


def test_same_map_as_torchvision_up_to_mixed_6e() -> None:
    expected = oracle.Inception3(num_classes=10, init_weights=False)
    randomise(expected)
    model = inception.build(2, hidden=8).eval()
    state = {
        name: value for name, value in expected.state_dict().items() if name in model.state_dict()
    }
    missing, _ = model.load_state_dict(state, strict=False)
    # torchvision's own fc is one layer: its names are not among ours.
    assert sorted(missing) == ["fc.0.bias", "fc.0.weight", "fc.3.bias", "fc.3.weight"]
    seen: list[Tensor] = []
    expected.Mixed_6e.register_forward_hook(lambda _m, _i, output: seen.append(output))
    backbone, _ = inception.backbone_and_head(model)
    x = photos(2, 150)
    with torch.inference_mode():
        expected(x)
        assert seen[0].shape == (2, 768, 7, 7)
        assert seen[0].std() > 0.1
        torch.testing.assert_close(backbone(x), seen[0].flatten(1), rtol=1e-3, atol=1e-4)


def test_the_file_of_torchvision_has_all_names_and_shapes_but_the_head() -> None:
    with torch.device("meta"):
        theirs = oracle.Inception3(init_weights=False).state_dict()
        ours = inception.build(2).state_dict()
    for name, value in ours.items():
        if not name.startswith("fc."):
            assert value.shape == theirs[name].shape, name
    behind = {name.split(".")[0] for name in theirs.keys() - ours.keys()}
    assert behind == {"AuxLogits", "Mixed_7a", "Mixed_7b", "Mixed_7c", "fc"}


def test_the_head() -> None:
    with torch.device("meta"):
        model = inception.build(2)
    kinds = [type(layer) for layer in model.fc]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert model.get_parameter("fc.0.weight").shape == (1024, 7 * 7 * 768)
    assert model.get_parameter("fc.3.weight").shape == (2, 1024)


@pytest.mark.parametrize("size", [(75, 75), (76, 90), (107, 108), (150, 225), (224, 91)])
def test_any_size_that_the_network_was_built_for(size: tuple[int, int]) -> None:
    model = inception.build(3, input_size=list(size), width=0.0625, hidden=4).eval()
    with torch.inference_mode():
        assert model(photos(1, *size)).shape == (1, 3)
        with pytest.raises(ValueError, match=r"a photo of \(99, 99\); input_size is"):
            model(photos(1, 99))
