"""Models that go by another score than the best probability to call an answer unsure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from tests.images import encode
from tests.service import Service
from tests.serving.rollout.versions import edit_json
from tests.web.browser.conftest import Visit
from tests.web.browser.photos import Photo, choose, done, large, photo
from tests.web.changed_archive import served_as
from tests.web.conftest import StartGateway
from tests.web.gateway_process import GatewayProcess

MAX_LOGIT = "max-logit"


@pytest.fixture(scope="module", autouse=True)
def other_score(
    service: Service, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The demo, with a threshold on the largest logit that no answer reaches."""

    def change(folder: Path) -> None:
        edit_json(folder / "model-card.json", unsure_score=MAX_LOGIT, unsure_threshold=1e6)

    with served_as(MAX_LOGIT, service, model_store, tmp_path_factory.mktemp("score"), change):
        yield


@pytest.fixture
def other_gateway(start_gateway: StartGateway) -> GatewayProcess:
    gateway = start_gateway(models=MAX_LOGIT, rate="none").wait_until_ready()
    gateway.wait_for(lambda: requests.get(f"{gateway.url}/api/models", timeout=10).ok)
    return gateway


def test_the_models_tell_their_score(other_gateway: GatewayProcess) -> None:
    (model,) = requests.get(f"{other_gateway.url}/api/models", timeout=10).json()["models"]
    assert (model["unsure_score"], model["unsure_threshold"]) == (MAX_LOGIT, 1e6)


def test_a_probable_breed_is_not_said_to_be_improbable(
    other_gateway: GatewayProcess, visit: Visit, siamese: Photo
) -> None:
    page = visit(other_gateway.url)
    choose(page, siamese)
    verdict = done(page).locator(".verdict")
    expect(verdict).to_contain_text("Perhaps Siamese")
    expect(verdict).to_contain_text("this photo may be unlike those that it has learnt from")
    expect(verdict).not_to_contain_text("%")


def test_the_photo_itself_is_sent_as_a_copy_s_answer_would_not_tell_how_near_it_is(
    other_gateway: GatewayProcess, visit: Visit, tmp_path: Path
) -> None:
    page = visit(other_gateway.url)
    original = encode(large("Siamese", (2000, 1500)), "JPEG", quality=95)
    assert len(original) > 2**20
    with page.expect_request("**/api/classify*") as asked:
        choose(page, photo("siamese.jpg", original))
    expect(done(page).locator(".meta")).not_to_contain_text("smaller copy")
    assert asked.value.all_headers()["content-length"] == str(len(original))
    too_large = tmp_path / "motion.jpg"
    too_large.write_bytes(original + bytes(17 * 2**20))
    page.set_input_files("#file", too_large)
    expect(done(page).locator(".meta")).to_contain_text("sent as a smaller copy of")
