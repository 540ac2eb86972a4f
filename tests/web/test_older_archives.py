"""An archive brings its own handler, which may be older than the gateway and tell less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.answers import JSON
from tests.service import DEMO, Service
from tests.web.asking import ask_sync
from tests.web.changed_archive import served_as
from tests.web.conftest import StartGateway
from web import schemas

OLDER = "older"
# Leaves out of each answer what the archives of before do not tell.
ENTRY_POINT = """
import json

from handlers.service import ImageClassifier


class ModelService(ImageClassifier):
    def handle(self, data, context):
        answers = map(json.loads, super().handle(data, context))
        newer = ("unsure_score", "cells", "input_size")
        kept = ({key: each[key] for key in each if key not in newer} for each in answers)
        return [json.dumps(each) for each in kept]
"""


@pytest.fixture(scope="module", autouse=True)
def older_archive(
    service: Service, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The demo in an archive that does not tell its cells, nor by which score it is unsure."""

    def change(folder: Path) -> None:
        (folder / "model_service.py").write_text(ENTRY_POINT)

    with served_as(OLDER, service, model_store, tmp_path_factory.mktemp("older"), change):
        yield


def test_what_it_does_not_tell_is_as_it_was_then(
    start_gateway: StartGateway, service: Service, cat_photo: bytes
) -> None:
    described = service.post(f"/predictions/{OLDER}", b"{}", JSON | {"describe": "True"}).json()
    assert "unsure_threshold" in described
    assert "unsure_score" not in described
    gateway = start_gateway(models=OLDER, rate="none").wait_until_ready()
    gateway.wait_for(lambda: requests.get(f"{gateway.url}/api/models", timeout=10).ok)
    (model,) = ask_sync(gateway.url, "models").models
    assert (model.name, model.unsure_score) == (OLDER, "probability")
    assert model.unsure_threshold == described["unsure_threshold"]
    assert ask_sync(gateway.url, "classify", cat_photo).best.breed == "Siamese"


def test_its_explanations_are_passed_on(
    start_gateway: StartGateway, service: Service, cat_photo: bytes
) -> None:
    gateway = start_gateway(models=OLDER, rate="none").wait_until_ready()
    answer = requests.post(f"{gateway.url}/api/explain", cat_photo, timeout=60).json()
    schemas.Explanation.model_validate(answer)
    assert {"cells", "input_size"}.isdisjoint(answer)
    assert answer["grid"] == service.post(f"/explanations/{DEMO}", cat_photo).json()["grid"]
    explained = ask_sync(gateway.url, "explain", cat_photo)
    assert (explained.cells, explained.input_size) == (None, None)
