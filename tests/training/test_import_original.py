from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from training.import_original import import_original
from training.models import bit
from training.original_files import UnsafeFileError, WrongContentError
from training.run_folder import build_model, read_run

NAMES = [f"Breed {number:02d}" for number in range(67)]
State = dict[str, Tensor]


def png(colour: tuple[int, int, int]) -> bytes:
    image = Image.radial_gradient("L").resize((200, 150)).convert("RGB")
    stream = io.BytesIO()
    Image.blend(image, Image.new("RGB", image.size, colour), 0.5).save(stream, "PNG")
    return stream.getvalue()


GOLDEN = [png((200, 80, 40)), png((10, 90, 220))]


@pytest.fixture
def class_file(tmp_path: Path) -> Path:
    path = tmp_path / "cat_model_class_names"
    path.write_bytes(pickle.dumps(NAMES))
    return path


@pytest.fixture(scope="module")
def hollow() -> State:
    """The names and shapes of an R50x1 without its 95 MB: each tensor repeats one number."""
    with torch.device("meta"):
        model = bit.build(67, **bit.MEMBERS["R50x1"])
    return {name: torch.ones(1).expand(value.shape) for name, value in model.state_dict().items()}


def test_an_imported_model_is_a_run_with_the_same_logits(tmp_path: Path, class_file: Path) -> None:
    torch.manual_seed(0)
    original = bit.build(67, **bit.MEMBERS["R50x1"]).eval()
    torch.nn.init.normal_(original.state_dict()["head.conv.weight"], std=0.01)
    state_file = tmp_path / "cats_model_state"
    parallel = {f"module.{name}": value for name, value in original.state_dict().items()}
    torch.save(parallel, state_file)
    out = tmp_path / "run"
    run = import_original(state_file, class_file, out, GOLDEN)

    assert read_run(out) == run
    assert run.name == "cat-breeds"
    assert list(run.classes) == NAMES
    assert run.preprocessing.to_dict() == {
        "resize": 128,
        "crop": 128,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    rebuilt = build_model(run)
    rebuilt.load_state_dict(safetensors.torch.load_file(out / "weights.safetensors"))
    photos = [Image.open(out / "golden" / f"{number:02d}.png") for number in range(2)]
    batch = torch.stack([run.preprocessing(photo.convert("RGB")) for photo in photos])
    for photo in photos:
        photo.close()
    golden = safetensors.torch.load_file(out / "golden" / "logits.safetensors")["logits"]
    with torch.inference_mode():
        torch.testing.assert_close(original(batch), golden, rtol=0, atol=1e-4)
        torch.testing.assert_close(rebuilt(batch), golden, rtol=0, atol=1e-4)
    assert golden.std() > 0.01


def test_the_card_claims_no_measurement(tmp_path: Path, class_file: Path, hollow: State) -> None:
    state_file = tmp_path / "cats_model_state"
    torch.save(hollow, state_file)
    run = import_original(state_file, class_file, tmp_path / "run", GOLDEN[:1], name="cats")
    assert run.name == "cats"
    assert run.metrics == {}
    assert run.data["reported_not_measured"]["test_top1"] == 0.42
    limitations = " ".join(run.limitations)
    for needed in ("42.00%", "most frequent class", "noisy", "not calibrated"):
        assert needed in limitations
    assert (run.temperature, run.unsure_threshold) == (1.0, 0.5)
    assert run.licence_notes


def without(state: State) -> None:
    del state["body.block3.unit06.gn2.bias"]


def with_extra(state: State) -> None:
    state["head.fc.weight"] = torch.ones(1)


def mis_shaped(state: State) -> None:
    state["root.conv.weight"] = torch.ones(1).expand(64, 3, 3, 3)


def of_another_class_count(state: State) -> None:
    state["head.conv.weight"] = torch.ones(1).expand(37, 2048, 1, 1)


def not_finite(state: State) -> None:
    state["head.gn.bias"] = torch.full((2048,), torch.nan)


def enormous(state: State) -> None:
    state["head.gn.bias"] = torch.ones(1).expand(1 << 45)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (without, r"missing: body\.block3\.unit06\.gn2\.bias$"),
        (with_extra, r"extra: head\.fc\.weight$"),
        (mis_shaped, r"wrong shape: root\.conv\.weight 64x3x3x3 instead of 64x3x7x7$"),
        (of_another_class_count, r"67 classes .* head\.conv\.weight 37x2048x1x1 instead of 67x"),
        (not_finite, r"head\.gn\.bias holds infinities or NaN$"),
        (enormous, r"head\.gn\.bias 35184372088832 instead of 2048$"),
    ],
)
def test_a_state_that_does_not_fit_is_named_and_leaves_no_run(
    tmp_path: Path, class_file: Path, hollow: State, spoil: Callable[[State], None], named: str
) -> None:
    state = dict(hollow)
    spoil(state)
    state_file = tmp_path / "cats_model_state"
    torch.save(state, state_file)
    with pytest.raises(WrongContentError, match=named) as caught:
        import_original(state_file, class_file, tmp_path / "run", GOLDEN)
    assert str(state_file) in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_unsafe_class_list_is_refused_before_the_state_is_read(tmp_path: Path) -> None:
    class_file = tmp_path / "cat_model_class_names"
    class_file.write_bytes(b"cos\nsystem\n(Vtrue\ntR.")
    with pytest.raises(UnsafeFileError, match=r"os\.system"):
        import_original(tmp_path / "none", class_file, tmp_path / "run", GOLDEN)
    assert not (tmp_path / "run").exists()
