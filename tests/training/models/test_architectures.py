"""What holds for every architecture: training, archives and explanations count on it."""

from __future__ import annotations

import copy
import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import training.models
from tests.training.models.randomised import photos, randomise
from training.models import ArchitectureName

NAMES: tuple[ArchitectureName, ...] = get_args(ArchitectureName)
# Small ones, and the side of the photos.
SMALL: dict[ArchitectureName, tuple[dict[str, Any], int]] = {
    "bit": ({"units": [1, 2, 1, 1], "width": 0.25}, 64),
    "cnn": ({"input_size": [128, 128], "width": 0.0625}, 128),
    "inception": ({"input_size": [107, 107], "width": 0.25, "hidden": 32}, 107),
    "mobilenet": ({"width": 0.25}, 64),
    "plain_cnn": ({"input_size": [64, 64], "channels": [8, 16, 16], "hidden": 32}, 64),
    "resnet": ({"layers": [1, 2, 1, 1], "width": 0.25}, 64),
    "vgg": ({"convolutions": [1, 1, 2, 1, 2], "width": 0.25}, 64),
}


def module(name: str) -> ModuleType:
    return importlib.import_module(f"training.models.{name}")


def small(name: ArchitectureName) -> tuple[nn.Module, Tensor]:
    options, side = SMALL[name]
    model: nn.Module = module(name).build(5, **options)
    randomise(model)
    return model, photos(2, side)


def test_every_architecture_is_named() -> None:
    folder = Path(training.models.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "def build(" in path.read_text()}
    assert set(NAMES) == files == set(SMALL)


@pytest.mark.parametrize("name", NAMES)
def test_folding_keeps_the_logits(name: ArchitectureName) -> None:
    model, x = small(name)
    before = copy.deepcopy(model.state_dict())
    folded = module(name).fold(model.train())
    assert model.training
    assert not folded.training
    with torch.inference_mode():
        logits = model.eval()(x)
        assert logits.shape == (2, 5)
        assert logits.std() > 0.05
        torch.testing.assert_close(folded(x), logits, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(module(name).fold(folded)(x), folded(x))
        exact = copy.deepcopy(model).double()
        twice = module(name).fold(exact)(x.double())
        torch.testing.assert_close(twice, exact(x.double()), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    convolutions = [layer for layer in folded.modules() if isinstance(layer, nn.Conv2d)]
    assert all(
        layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in convolutions
    )
    # Where a norm follows its convolution straight away nothing of it is left.
    if name in ("inception", "mobilenet", "resnet"):
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fold", [False, True])
def test_backbone_and_head_are_the_model_in_two(name: ArchitectureName, fold: bool) -> None:
    model, x = small(name)
    model = module(name).fold(model) if fold else model
    backbone, head = module(name).backbone_and_head(model)
    with torch.inference_mode():
        torch.testing.assert_close(head(backbone(x)), model(x))
    parts = [*backbone.parameters(), *head.parameters()]
    assert {id(each) for each in parts} == {id(each) for each in model.parameters()}
    assert len(parts) == len(list(model.parameters()))
    assert list(head.parameters())
    # What a frozen phase computes once must not depend on chance.
    assert not any(isinstance(layer, nn.Dropout) for layer in backbone.modules())
    dropouts = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
    assert all(each in list(head.modules()) for each in dropouts)


@pytest.mark.parametrize("name", NAMES)
def test_training_the_head_leaves_the_backbone(name: ArchitectureName) -> None:
    model, x = small(name)
    backbone, head = module(name).backbone_and_head(model)
    backbone.requires_grad_(False)
    before = copy.deepcopy(backbone.state_dict())
    features = backbone.eval()(x)
    first = model(x).detach()
    optimiser = torch.optim.SGD(head.parameters(), lr=0.01)
    loss: Tensor = F.cross_entropy(head.train()(features), torch.tensor([0, 1]))
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    torch.testing.assert_close(backbone.state_dict(), before, rtol=0, atol=0)
    assert not torch.allclose(model.eval()(x), first)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fold", [False, True])
def test_the_explained_layer_is_hooked_as_the_explanations_do(
    name: ArchitectureName, fold: bool
) -> None:
    model, x = small(name)
    model = module(name).fold(model) if fold else model
    layer = module(name).explained_layer(model)
    seen: list[Tensor] = []
    gradients: list[Tensor] = []
    with torch.inference_mode():
        expected = model(x)

    def capture(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1].clone()

    handles = [
        layer.register_full_backward_hook(lambda _m, _i, out: gradients.append(out[0])),
        layer.register_forward_hook(capture),
    ]
    logits = model(x)
    torch.testing.assert_close(logits, expected)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), seen[0])
    assert len(seen) == 1
    assert seen[0].ndim == 4
    assert min(seen[0].shape[2:]) >= 2
    assert gradient.abs().sum() > 0
    for handle in handles:
        handle.remove()


def linear(model: nn.Module) -> nn.Module:
    """With the same kernels, strides and paddings, but symmetric positive weights.

    What a cell looks at is then symmetric around its centre.
    """
    model = copy.deepcopy(model).double()
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm):
                setattr(parent, name, nn.Identity())
            if isinstance(layer, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding))
            if isinstance(layer, nn.Conv2d):
                nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return model


# The sides leave room for all that the middle cell looks at.
ROOMY: dict[ArchitectureName, tuple[dict[str, Any], int]] = {
    "bit": ({"units": [1, 1, 1, 1], "width": 0.125}, 320),
    "cnn": ({"input_size": [416, 416], "width": 1 / 64}, 416),
    "inception": ({"input_size": [1045, 1045], "width": 1 / 16, "hidden": 1}, 1045),
    "mobilenet": ({"width": 0.25}, 608),
    "plain_cnn": ({"input_size": [150, 150], "hidden": 1}, 150),
    "resnet": ({"layers": [1, 1, 1, 1], "width": 1 / 32}, 384),
    "vgg": ({"width": 1 / 64}, 288),
}


@pytest.mark.parametrize("name", NAMES)
def test_cells_look_at_the_pixels_that_are_told(
    name: ArchitectureName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(F, "max_pool2d", F.avg_pool2d)
    options, side = ROOMY[name]
    model = linear(module(name).fold(module(name).build(2, **options)))
    seen: list[Tensor] = []
    layer = module(name).explained_layer(model)
    layer.register_forward_hook(lambda _m, _i, output: seen.append(output))
    x = torch.full((1, 3, side, side), 1e-3, dtype=torch.float64, requires_grad=True)
    model(x)
    first, step = module(name).explained_cells(model)
    row, column = seen[0].shape[2] // 2, seen[0].shape[3] // 2 - 1
    (gradient,) = torch.autograd.grad(seen[0][0, :, row, column].sum(), x)
    weight = gradient[0].sum(0)
    assert weight.min() >= 0
    # All that it looks at lies within the photo.
    assert all(
        float(each.sum()) == 0 for each in (weight[0], weight[-1], weight.T[0], weight.T[-1])
    )
    pixel = torch.arange(float(side), dtype=torch.float64)
    middle = [float((weight.sum(axis) * pixel).sum() / weight.sum()) for axis in (1, 0)]
    assert middle == pytest.approx([first + row * step, first + column * step], abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_new_model_learns(name: ArchitectureName) -> None:
    torch.manual_seed(0)
    options, side = SMALL[name]
    if name in ("inception", "mobilenet", "plain_cnn", "vgg"):
        options = options | {"dropout": 0.0}
    model = module(name).build(2, **options).train()
    x, labels = photos(4, side), torch.tensor([0, 1, 0, 1])
    x[labels == 1] *= 0.5
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(80):
        optimiser.zero_grad()
        loss: Tensor = F.cross_entropy(model(x), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if loss < 0.35:  # half of what guessing gives
            return
    pytest.fail(f"loss {loss:.2f}")


def test_the_files_work_alone_as_in_an_archive(tmp_path: Path) -> None:
    folder = Path(training.models.__file__).parent
    script = "import sys\n"
    for name in NAMES:
        shutil.copy(folder / f"{name}.py", tmp_path / f"alone_{name}.py")
        script += f"import alone_{name} as it\nit.fold(it.build(3, **{SMALL[name][0]}))\n"
    script += (
        "print([name for name in sys.modules if name.split('.')[0] in ('training', 'handlers')])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


WRONG = {
    "num_classes": [0, -1, 2.0, True, "2", None],
    "input_size": [[224], [0, 224], [30, 30], [224, 3], 224, "ab", None, [224.0, 224]],
    "width": [0, -1, 1 / 3000, float("nan"), float("inf"), "1", None],
    "layers": [[1, 1, 1], [1, 1, 0, 1], 4, "abcd", [1, 1, 1, 1.5]],
    "units": [[1, 1, 1], [1, 1, 0, 1], 4, "abcd", [1, 1, 1, 1.5]],
    "convolutions": [[1, 1, 1, 1], [1, 1, 1, 1, 0], 5, "abcde"],
    "channels": [[], [0], 3, "ab", [1, 2.5]],
    "hidden": [0, 1.5, "1"],
    "dropout": [-0.1, 1, 1.5, "0.2", float("nan")],
}


def wrong_options() -> list[tuple[ArchitectureName, str, object]]:
    known = {
        "bit": ("units", "width"),
        "cnn": ("input_size", "width"),
        "inception": ("input_size", "width", "hidden", "dropout"),
        "mobilenet": ("dropout",),
        "plain_cnn": ("channels", "hidden", "dropout"),
        "resnet": ("layers", "width"),
        "vgg": ("convolutions", "width", "dropout"),
    }
    return [
        (name, key, value)
        for name in NAMES
        for key in ("num_classes", *known[name])
        for value in WRONG[key]
    ]


@pytest.mark.parametrize(("name", "key", "value"), wrong_options())
def test_an_impossible_option_is_named_with_its_value_and_what_is_allowed(
    name: ArchitectureName, key: str, value: object
) -> None:
    options = {"num_classes": 2} | SMALL[name][0] | {key: value}
    with pytest.raises(ValueError, match=rf"^{key} is .+; .*(needed|allowed|must be)") as caught:
        module(name).build(**options)
    assert repr(value) in str(caught.value)
