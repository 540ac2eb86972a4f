"""The Python client gives the gateway's answers as they are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.service import DEMO, R50
from tests.web.asking import Ask, ask_async, ask_sync
from tests.web.gateway_process import GatewayProcess
from web.client import Cells, Photo, PhotoProblem, Problem, ServiceProblem


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param  # type: ignore[no-any-return]


def test_a_photo_may_be_bytes_a_path_or_a_file(
    gateway: GatewayProcess, cat_photo: bytes, tmp_path: Path, ask: Ask
) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(cat_photo)
    photos: list[Photo] = [cat_photo, bytearray(cat_photo), path, str(path), io.BytesIO(cat_photo)]
    for photo in photos:
        answer = ask(gateway.url, "classify", photo)
        assert (answer.model, answer.version, answer.best.breed) == (DEMO, "0.1", "Siamese")
        assert len(answer.predictions) == 5
        assert answer.timing_ms.inference > 0


def test_options(gateway: GatewayProcess, cat_photo: bytes, ask: Ask) -> None:
    answer = ask(gateway.url, "classify", cat_photo, model=R50, version="1.0", top_k=2)
    assert (answer.model, answer.version, len(answer.predictions)) == (R50, "1.0", 2)


def test_several_photos(gateway: GatewayProcess, cat_photo: bytes, ask: Ask) -> None:
    first, second, third = ask(
        gateway.url, "classify_many", [cat_photo, b"no photo", cat_photo], top_k=1
    )
    assert first.best == third.best
    assert (second.status, second.slug) == (415, "unsupported-image")
    (only,) = ask(gateway.url, "classify_many", [b"no photo"])
    assert isinstance(only, Problem)
    assert ask(gateway.url, "classify_many", []) == []


def test_explanations(gateway: GatewayProcess, cat_photo: bytes, ask: Ask) -> None:
    best = ask(gateway.url, "explain", cat_photo)
    assert best.class_.breed == "Siamese"
    assert best.heatmap.startswith(b"\x89PNG")
    assert len({len(row) for row in best.grid}) == 1
    assert (best.cells, best.input_size) == (Cells(0, 32), (96, 96))
    other = ask(gateway.url, "explain", cat_photo, "Persian", model=DEMO, version="0.1")
    assert other.class_.breed == "Persian"
    assert ask(gateway.url, "explain", cat_photo, other.class_.class_id) == other


def test_what_is_served(gateway: GatewayProcess, ask: Ask) -> None:
    models = ask(gateway.url, "models")
    assert {model.name for model in models.models} >= {DEMO, R50}
    (demo,) = (model for model in models.models if model.name == DEMO)
    assert (demo.default, demo.versions, demo.classes) == ("0.1", ("0.1",), 67)
    assert demo.input.resize == (96, 96)
    assert demo.unsure_score == "probability"
    assert models.limits.photos == 32
    assert models.url is False


def test_what_is_wrong(gateway: GatewayProcess, cat_photo: bytes, ask: Ask) -> None:
    with pytest.raises(PhotoProblem, match="415 Not an image format") as wrong:
        ask(gateway.url, "classify", b"no photo")
    assert wrong.value.slug == "unsupported-image"
    assert wrong.value.request_id
    with pytest.raises(PhotoProblem):
        ask(gateway.url, "classify", cat_photo[: len(cat_photo) // 2])
    with pytest.raises(PhotoProblem):
        ask(gateway.url, "classify", bytes(17 * 2**20))
    with pytest.raises(ServiceProblem, match="top_k") as invalid:
        ask(gateway.url, "classify", cat_photo, top_k=0)
    assert type(invalid.value) is ServiceProblem
    assert (invalid.value.status, invalid.value.slug) == (422, "invalid-option")
