from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from handlers.bundle import load_bundle
from handlers.expected import BOUNDS
from handlers.network import BundleError
from tests.handlers.conftest import CLASSES


def test_everything_comes_from_the_folder(model_dir: Path) -> None:
    bundle = load_bundle(model_dir)
    assert (bundle.name, bundle.version) == ("tiny", "1.2")
    assert bundle.temperature == 1.5
    assert (bundle.unsure_score, bundle.unsure_threshold) == ("probability", 0.3)
    assert bundle.class_names[0] == "Abyssinian"
    assert bundle.class_names[5] == "Türkisch Van"
    assert bundle.golden.inputs.shape == (3, 3, 32, 32)
    assert bundle.golden.logits.shape == (3, 6)
    assert not bundle.model.training
    assert not any(parameter.requires_grad for parameter in bundle.model.parameters())
    assert bundle.network.explained_layer in list(bundle.model.modules())
    weights = safetensors.torch.load_file(model_dir / "weights.safetensors")
    torch.testing.assert_close(dict(bundle.model.state_dict()), weights)


def test_the_architecture_is_the_archive_s_own(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoy = tmp_path / "checkout"
    decoy.mkdir()
    (decoy / "architecture.py").write_text("raise RuntimeError('the wrong file')")
    monkeypatch.syspath_prepend(str(decoy))
    load_bundle(model_dir)
    assert "architecture" not in sys.modules


@pytest.mark.parametrize("threshold", [-7.5, 0, 31.25])
@pytest.mark.parametrize("score", ["max-logit", "energy"])
def test_a_threshold_of_logits_may_be_any_number(
    model_dir: Path, score: str, threshold: float
) -> None:
    edit_json(CARD, lambda c: c.update(unsure_score=score, unsure_threshold=threshold))(model_dir)
    bundle = load_bundle(model_dir)
    assert (bundle.unsure_score, bundle.unsure_threshold) == (score, threshold)


@pytest.mark.parametrize("stated", [None, 0.95, 1])
def test_what_the_threshold_was_chosen_for_may_be_unknown(
    model_dir: Path, stated: float | None
) -> None:
    """An archive of before does not say it, nor does one of an imported model."""
    assert "sure_precision" not in load_bundle(model_dir).card
    edit_json(CARD, lambda c: c.update(sure_precision=stated))(model_dir)
    assert load_bundle(model_dir).card["sure_precision"] == stated


def edit_json(name: str, edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def change(model_dir: Path) -> None:
        read = json.loads((model_dir / name).read_text())
        edit(read)
        (model_dir / name).write_text(json.dumps(read))

    return change


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda model_dir: (model_dir / name).write_text(text)


def remove(name: str) -> Callable[[Path], object]:
    return lambda model_dir: (model_dir / name).unlink()


CARD = "model-card.json"


def expecting(**changed: object) -> Callable[[Path], None]:
    """A card by which every photo is a Bengal's."""
    section = {
        "photos": 4,
        "part": "test",
        "predicted": {name: float(name == "Bengal") for name in CLASSES},
        "top1_probability": dict.fromkeys(BOUNDS, 1.0),
        "unsure": 0.25,
    }
    return edit_json(CARD, lambda card: card.update(expected=section | changed))


@pytest.mark.parametrize(
    "change", [expecting(), edit_json(CARD, lambda card: card.update(expected={}))]
)
def test_a_card_may_say_what_to_expect(model_dir: Path, change: Callable[[Path], None]) -> None:
    assert "expected" not in load_bundle(model_dir).card  # as in archives of before
    change(model_dir)
    card = json.loads((model_dir / CARD).read_text())
    assert load_bundle(model_dir).card == card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove(CARD), "model-card.json: cannot be read"),
        (write(CARD, "[]"), "model-card.json: not a JSON object"),
        (write(CARD, "{"), "model-card.json: cannot be read"),
        (edit_json(CARD, lambda c: c.pop("version")), "model-card.json: 'version' is missing"),
        (edit_json(CARD, lambda c: c.update(classes=5)), "classes: 5, but .* has 6"),
        (edit_json(CARD, lambda c: c.update(temperature=0)), "temperature: 0 is not allowed"),
        (edit_json(CARD, lambda c: c.update(temperature="1")), "temperature: '1'"),
        (edit_json(CARD, lambda c: c.pop("unsure_threshold")), "unsure_threshold: None"),
        (edit_json(CARD, lambda c: c.update(unsure_threshold=2)), "unsure_threshold: 2"),
        (edit_json(CARD, lambda c: c.update(sure_precision=95)), "sure_precision: 95"),
        (edit_json(CARD, lambda c: c.update(sure_precision="95%")), "sure_precision: '95%'"),
        (edit_json(CARD, lambda c: c.update(sure_precision=True)), "sure_precision: True"),
        (edit_json(CARD, lambda c: c.pop("unsure_score")), "unsure_score: None is not allowed"),
        (edit_json(CARD, lambda c: c.update(unsure_score="odin")), "'odin' is .* 'energy'"),
        (
            edit_json(CARD, lambda c: c.update(unsure_score="energy", unsure_threshold=math.inf)),
            "unsure_threshold: inf is not allowed; a finite number is",
        ),
        (
            edit_json(CARD, lambda c: c.update(unsure_score="max-logit", unsure_threshold="3")),
            "unsure_threshold: '3'",
        ),
        (edit_json(CARD, lambda c: c.update(architecture="bit")), "architecture: an object"),
        (expecting(unsure=2), "model-card.json: expected.unsure: 2 is not allowed"),
        (expecting(predicted={"Bengal": 1.0}), "predicted: other classes than in index_to_name"),
        (edit_json(CARD, lambda c: c.update(expected=None)), "expected: an object with the keys"),
        (edit_json(CARD, lambda c: c["preprocessing"].pop("mean")), "'mean' is missing"),
        (write("index_to_name.json", '{"1": "a"}'), "index_to_name.json: class '0' is missing"),
        (write("index_to_name.json", "{}"), "index_to_name.json: every class needs a name"),
        (write("index_to_name.json", '{"0": "a", "1": "a"}'), "the same name"),
        (write("architecture.py", "x = 1 / 0"), "architecture.py: ZeroDivisionError"),
        (write("architecture.py", "x = 1"), "architecture.py: function build is missing"),
        (remove("architecture.py"), "architecture.py"),
        (
            edit_json(CARD, lambda c: c["architecture"].update(options={"channels": 9})),
            "weights.safetensors: do not fit",
        ),
        (write("weights.safetensors", "not weights"), "weights.safetensors"),
        (remove("weights.safetensors"), "weights.safetensors"),
        (remove("golden/logits.safetensors"), "golden: cannot be read"),
        (remove("golden/02.png"), "golden: 2 photos and logits of shape"),
        (write("golden/02.png", "no photo"), "golden: cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    model_dir: Path, change: Callable[[Path], object], message: str
) -> None:
    change(model_dir)
    with pytest.raises(BundleError, match=message):
        load_bundle(model_dir)


def test_weights_of_another_key_are_refused(model_dir: Path) -> None:
    path = model_dir / "weights.safetensors"
    weights = safetensors.torch.load_file(path)
    weights["extra"] = torch.zeros(1)
    safetensors.torch.save_file(weights, path)
    with pytest.raises(BundleError, match="extra"):
        load_bundle(model_dir)
