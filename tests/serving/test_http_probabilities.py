"""Probabilities over HTTP are those of a plain PyTorch softmax, and stay the same."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from handlers.config import Limits
from handlers.cores import available_cores
from handlers.images import decode_image
from tests.answers import ask, form, probabilities, problem_of
from tests.service import BATCHING, DEMO, R50, Service
from training.archive import model_card
from training.run_folder import build_model, read_run

BOTH = pytest.mark.parametrize(("model", "run"), [(DEMO, "demo_run"), (R50, "r50_run")])


@pytest.fixture
def run_folder(request: pytest.FixtureRequest, run: str) -> Path:
    folder: Path = request.getfixturevalue(run)
    return folder


def without_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """As TorchServe's management API passes JSON on: keys whose value is null are left out."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    return value


@BOTH
def test_they_are_the_softmax_of_the_runs_logits_at_its_temperature(
    service: Service, unseen_cats: Path, run_folder: Path, model: str
) -> None:
    run = read_run(run_folder)
    network = build_model(run)
    network.load_state_dict(load_file(run_folder / "weights.safetensors"))
    for breed in ("Siamese", "Bengal", "Scottish Fold"):
        photo = max((unseen_cats / "images" / breed).glob("*.jpg")).read_bytes()
        with torch.inference_mode():
            inputs = run.preprocessing(decode_image(photo, Limits()))[None]
            expected = torch.softmax(network(inputs)[0] / run.temperature, 0)
        got = probabilities(ask(service, model, photo))
        assert sum(got.values()) == pytest.approx(1, abs=1e-4)
        assert got == pytest.approx(
            dict(zip(run.classes, expected.tolist(), strict=True)), abs=1e-4, rel=0
        )


@BOTH
def test_unsure_is_told_by_the_cards_threshold(
    service: Service, unseen_cats: Path, run_folder: Path, model: str
) -> None:
    threshold = read_run(run_folder).unsure_threshold
    for breed in ("Siamese", "Bengal", "Ragdoll"):
        answer = ask(service, model, min((unseen_cats / "images" / breed).glob("*")).read_bytes())
        assert answer["unsure"] is (answer["predictions"][0]["probability"] < threshold)


@pytest.mark.parametrize(("model", "times"), [(DEMO, 20), (R50, 4)])
def test_the_same_photo_gets_the_same_answer_every_time(
    service: Service, cat_photo: bytes, model: str, times: int
) -> None:
    first = ask(service, model, cat_photo, 5)["predictions"]
    multipart = form(("photo", ("cat.jpg", cat_photo)))
    for _ in range(times // 2):
        raw = service.post(f"/predictions/{model}", cat_photo).json()
        assert raw["predictions"] == first
        assert service.post(f"/predictions/{model}", *multipart).json()["predictions"] == first


@BOTH
def test_an_explanation_is_a_heat_map_of_the_top_class(
    service: Service, cat_photo: bytes, run_folder: Path, model: str
) -> None:
    response = service.post(f"/explanations/{model}", cat_photo)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["class"] == ask(service, model, cat_photo, 1)["predictions"][0]
    height, width = read_run(run_folder).preprocessing.size
    with Image.open(io.BytesIO(base64.b64decode(answer["heatmap"]))) as heat_map:
        assert heat_map.format == "PNG"
        assert heat_map.mode == "RGBA"
        assert heat_map.size == (width, height)
        # The strongest place is the most opaque.
        assert max(heat_map.getchannel("A").get_flattened_data()) == 200
    # Both networks halve the picture five times.
    assert [len(row) for row in answer["grid"]] == [width // 32] * (height // 32)


@pytest.mark.parametrize("target", ["Bengal", "7", "07"])
def test_an_explanation_of_the_class_that_was_asked_for(
    service: Service, cat_photo: bytes, demo_run: Path, target: str
) -> None:
    parts = form(("photo", ("cat.jpg", cat_photo)), ("class", target))
    response = service.post(f"/explanations/{DEMO}", *parts)
    assert response.status_code == 200, response.text
    answer = response.json()
    class_id = int(target) if target.isdigit() else read_run(demo_run).classes.index(target)
    assert answer["class"]["class_id"] == class_id
    assert answer["class"]["breed"] == read_run(demo_run).classes[class_id]
    assert answer["grid"] != service.post(f"/explanations/{DEMO}", cat_photo).json()["grid"]


@pytest.mark.parametrize("target", ["Dog", "67", "-1", "bengal"])
def test_an_explanation_of_an_unknown_class_is_refused(
    service: Service, cat_photo: bytes, target: str
) -> None:
    parts = form(("photo", ("cat.jpg", cat_photo)), ("class", target))
    response = service.post(f"/explanations/{DEMO}", *parts)
    detail = problem_of(response, 422, "invalid-option")
    assert target in detail
    assert "0 to 66" in detail


def test_an_explanation_of_no_photo_is_refused(service: Service) -> None:
    problem_of(service.post(f"/explanations/{R50}", b"no photo"), 415, "unsupported-image")


@pytest.mark.parametrize(
    ("model", "version", "run"),
    [(DEMO, "0.1", "demo_run"), (R50, "1.0", "r50_run"), (BATCHING, "1.0", "demo_run")],
)
def test_describing_a_model_gives_its_card(
    service: Service, run_folder: Path, model: str, version: str
) -> None:
    response = service.manage("GET", f"/models/{model}", {"customized": "true"})
    (described,) = response.json()
    card = model_card(read_run(run_folder), version) | {"name": model}
    shown = described["customizedMetadata"]
    # One worker, so that all cores are its.
    running = {"engine": "openvino", "precision": "f32", "threads": available_cores()}
    assert shown.pop("running") == running
    assert shown == without_nulls(card)
