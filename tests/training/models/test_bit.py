from __future__ import annotations

import copy
import json
import re

import pytest
import timm
import torch
from torch import Tensor, nn

from training.models import bit

SMALL = bit.MEMBERS["R14x0.25"]


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Every parameter, norms and the zero head too, so that none can be left out unnoticed.

    The kernels have a standard deviation of 1: next to it the epsilons of the two
    implementations (1e-10 here, 1e-8 in timm) vanish in float32.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if name == "head.conv.weight":
                noise *= 0.05
            if ".gn" in name:
                noise = 0.3 * noise + (1.0 if name.endswith("weight") else 0.0)
            value.copy_(noise)


def photos(count: int, side: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, side, side, generator=generator) * 2 - 1


@pytest.fixture(scope="module")
def r50x1() -> bit.ResNetV2:
    model = bit.build(67, **bit.MEMBERS["R50x1"])
    randomise(model)
    return model.eval()


@pytest.fixture(scope="module")
def folded(r50x1: bit.ResNetV2) -> nn.Module:
    return bit.fold(r50x1)


def timm_name(name: str) -> str:
    name = re.sub(r"^root\.conv", "stem.conv", name)
    name = re.sub(r"^head\.gn", "norm", name)
    name = re.sub(r"^head\.conv", "head.fc", name)
    name = re.sub(
        r"^body\.block(\d)\.unit(\d\d)",
        lambda found: f"stages.{int(found[1]) - 1}.blocks.{int(found[2]) - 1}",
        name,
    )
    return name.replace(".gn", ".norm").replace("downsample", "downsample.conv")


@pytest.fixture(scope="module")
def oracle(r50x1: bit.ResNetV2) -> nn.Module:
    model: nn.Module = timm.create_model("resnetv2_50x1_bit", pretrained=False, num_classes=67)
    model.load_state_dict({timm_name(name): value for name, value in r50x1.state_dict().items()})
    return model.eval()


@pytest.mark.parametrize(("side", "count"), [(128, 2), (224, 2), (480, 1)])
def test_same_logits_as_timm(
    r50x1: bit.ResNetV2, folded: nn.Module, oracle: nn.Module, side: int, count: int
) -> None:
    x = photos(count, side)
    with torch.inference_mode():
        expected = oracle(x)
        # Against float64, each of the two is off by about 1e-5 on logits of up to 4.4, and the
        # folded one by 5e-5: the convolutions for channels last sum in another order.
        assert expected.std() > 1
        torch.testing.assert_close(r50x1(x), expected, rtol=0, atol=5e-5)
        torch.testing.assert_close(folded(x), expected, rtol=0, atol=2e-4)


def test_same_logits_as_timm_in_double_precision(r50x1: bit.ResNetV2, oracle: nn.Module) -> None:
    """Without rounding only the two epsilons are left, 1e-10 here and 1e-8 in timm."""
    x = photos(1, 128).double()
    with torch.inference_mode():
        expected = copy.deepcopy(oracle).double()(x)
        logits = copy.deepcopy(r50x1).double()(x)
    torch.testing.assert_close(logits, expected, rtol=0, atol=5e-7)


def test_r50x1_has_the_published_number_of_parameters(r50x1: bit.ResNetV2) -> None:
    assert sum(value.numel() for value in r50x1.parameters()) == 23_637_635


def test_state_dict_names_are_those_of_big_transfer() -> None:
    unit = {"gn1.weight", "gn1.bias", "gn2.weight", "gn2.bias", "gn3.weight", "gn3.bias"}
    unit |= {"conv1.weight", "conv2.weight", "conv3.weight"}
    expected = {"root.conv.weight", "head.gn.weight", "head.gn.bias"}
    expected |= {"head.conv.weight", "head.conv.bias"}
    for block, units in enumerate([3, 4, 6, 3], start=1):
        expected |= {f"body.block{block}.unit01.downsample.weight"}
        for number in range(1, units + 1):
            expected |= {f"body.block{block}.unit{number:02d}.{name}" for name in unit}
    shapes = {
        name: tuple(value.shape)
        for name, value in bit.build(67, **bit.MEMBERS["R50x1"]).state_dict().items()
    }
    assert set(shapes) == expected
    assert shapes["root.conv.weight"] == (64, 3, 7, 7)
    assert shapes["body.block1.unit01.downsample.weight"] == (256, 64, 1, 1)
    assert shapes["body.block4.unit01.conv2.weight"] == (512, 512, 3, 3)
    assert shapes["head.conv.weight"] == (67, 2048, 1, 1)


def test_units_from_ten_on_keep_two_digits() -> None:
    names = bit.build(2, units=[1, 1, 11, 1], width=0.125).state_dict()
    assert "body.block3.unit11.conv1.weight" in names


@pytest.mark.parametrize("name", bit.MEMBERS)
def test_every_member_has_its_width_and_32_groups_where_published(name: str) -> None:
    options = json.loads(json.dumps(bit.MEMBERS[name]))
    with torch.device("meta"):
        model = bit.build(67, **options)
    assert model.state_dict()["head.conv.weight"].shape == (67, 2048 * options["width"], 1, 1)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.GroupNorm)]
    if options["width"] >= 1:
        assert {norm.num_groups for norm in norms} == {32}
    # One channel a group would be instance normalisation.
    assert min(norm.num_channels // norm.num_groups for norm in norms) >= 2


def test_standardisation_keeps_its_epsilon_and_the_biased_variance() -> None:
    """Filters so small that an epsilon of 1e-8 or one outside the root would show."""
    conv = bit.StdConv2d(2, 3, 3, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(0)))
        conv.weight.mul_(torch.tensor([1e-5, 1e-3, 1.0])[:, None, None, None])
    w = conv.weight.detach().double()
    mean = w.mean(dim=(1, 2, 3), keepdim=True)
    variance = ((w - mean) ** 2).mean(dim=(1, 2, 3), keepdim=True)
    expected = (w - mean) / (variance + 1e-10) ** 0.5
    torch.testing.assert_close(
        conv.standardised_weight().detach().double(), expected, rtol=1e-5, atol=1e-5
    )


def test_the_root_pools_over_a_border_of_zeros() -> None:
    """With a padded max pool, which pads with minus infinity, the border would be -1 too."""
    model = bit.build(2, **SMALL)
    model.root.conv = nn.Threshold(torch.inf, -1.0)  # whatever comes in, -1 goes out
    pooled = model.root(torch.zeros(1, 1, 8, 8))[0, 0]
    assert pooled.shape == (4, 4)
    assert pooled[0].eq(0).all()
    assert pooled[:, 0].eq(0).all()
    assert pooled[1:, 1:].eq(-1).all()


@pytest.mark.parametrize("side", [64, 97, 128])
def test_folded_gives_the_same_logits(side: int) -> None:
    model = bit.build(5, units=[2, 1, 1, 2], width=0.5)
    randomise(model)
    folded = bit.fold(model)
    x = photos(3, side)
    with torch.inference_mode():
        expected = model.eval()(x)
        torch.testing.assert_close(folded(x), expected, rtol=0, atol=2e-5)
        channels_last = x.to(memory_format=torch.channels_last)
        torch.testing.assert_close(folded(channels_last), expected, rtol=0, atol=2e-5)
        torch.testing.assert_close(bit.fold(folded)(x), expected, rtol=0, atol=2e-5)


def test_fold_leaves_the_model_as_it_was_and_standardises_nothing_any_more() -> None:
    model = bit.build(5, **SMALL).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded = bit.fold(model)
    assert model.training
    assert not any(layer.training for layer in folded.modules())
    assert not any(isinstance(layer, bit.StdConv2d) for layer in folded.modules())
    assert any(isinstance(layer, bit.StdConv2d) for layer in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    shapes = {name: value.shape for name, value in before.items()}
    assert {name: value.shape for name, value in folded.state_dict().items()} == shapes


@pytest.mark.parametrize("fold", [False, True])
def test_explained_layer_gives_what_is_pooled_and_takes_gradients(fold: bool) -> None:
    model: nn.Module = bit.build(5, **SMALL)
    randomise(model)
    model = bit.fold(model) if fold else model.eval()
    seen: list[Tensor] = []
    gradients: list[tuple[Tensor, ...]] = []
    layer = bit.explained_layer(model)
    layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    layer.register_full_backward_hook(lambda _module, _inputs, output: gradients.append(output))
    logits = model(photos(2, 96))
    assert seen[0].shape == (2, 512, 3, 3)
    state = model.state_dict()
    weight, bias = state["head.conv.weight"].flatten(1), state["head.conv.bias"]
    torch.testing.assert_close(seen[0].mean(dim=(2, 3)) @ weight.T + bias, logits)
    logits[:, 1].sum().backward()
    torch.testing.assert_close(gradients[0][0][0, :, 0, 0], weight[1] / 9)


def test_a_new_model_answers_zero_logits_and_learns() -> None:
    torch.manual_seed(0)
    model = bit.build(2, **SMALL)
    x, labels = photos(4, 64), torch.tensor([0, 1, 0, 1])
    assert model(x).eq(0).all()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(15):
        optimiser.zero_grad()
        loss: Tensor = nn.functional.cross_entropy(model(x), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert model(x).argmax(dim=1).equal(labels)
