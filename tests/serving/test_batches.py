"""A batch of eight holds good and bad requests, and each client gets what it would get alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import requests
import yaml

from tests.answers import JSON, ask, b64, probabilities, problem_of
from tests.archives import describe_as, pack, registered, unpack
from tests.service import BATCHING, DEMO, Service

VERSION = "1.1"
ROUTE = f"/predictions/{BATCHING}/{VERSION}"

# The archive's own service, which also notes the request ids of each batch that it is given.
RECORDING_SERVICE = """
import json
from handlers.service import ImageClassifier

class ModelService(ImageClassifier):
    def handle(self, data, context):
        with open({record!r}, "a") as file:
            ids = [context.get_request_id(index) for index in range(len(data))]
            file.write(json.dumps(ids) + "\\n")
        return super().handle(data, context)
"""


@pytest.fixture(scope="module")
def record(
    service: Service, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Serves the batching model with a service that writes each batch's request ids here."""
    folder = tmp_path_factory.mktemp("recording")
    record = folder / "batches"
    content = unpack(model_store / f"{BATCHING}-1.0.mar", folder / "content")
    describe_as(content, BATCHING, VERSION)
    (content / "model_service.py").write_text(RECORDING_SERVICE.format(record=str(record)))
    config = yaml.safe_load((content / "model-config.yaml").read_text())
    # A full batch leaves at once: this is only how long a slow machine may take to send eight.
    config["maxBatchDelay"] = 20_000
    (content / "model-config.yaml").write_text(yaml.safe_dump(config))
    archive = pack(content, model_store / f"{BATCHING}-{VERSION}.mar", seal=True)
    with registered(service, archive, BATCHING, VERSION):
        yield record


@pytest.fixture(scope="module")
def photos(unseen_cats: Path) -> list[bytes]:
    """Five drawn cats of different breeds."""
    breeds = ("Siamese", "Bengal", "Russian Blue", "Ragdoll", "Persian")
    return [min((unseen_cats / "images" / breed).glob("*.jpg")).read_bytes() for breed in breeds]


def at_once(calls: Sequence[Callable[[], requests.Response]]) -> list[requests.Response]:
    """Make all calls at the same time."""
    barrier = Barrier(len(calls))

    def call(one: Callable[[], requests.Response]) -> requests.Response:
        barrier.wait()
        return one()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def last_batch(record: Path) -> set[str]:
    return set(json.loads(record.read_text().splitlines()[-1]))


def assert_answered_as_alone(service: Service, response: requests.Response, photo: bytes) -> None:
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    alone = ask(service, DEMO, photo, len(answer["predictions"]))
    assert [best["breed"] for best in answer["predictions"]] == list(probabilities(alone))
    # Several photos at once are summed in another order than one.
    assert probabilities(answer) == pytest.approx(probabilities(alone), abs=1e-4)


def test_five_good_and_three_bad_requests_in_one_batch(
    service: Service, record: Path, photos: list[bytes]
) -> None:
    half = photos[0][: len(photos[0]) // 2]
    bad_option = json.dumps({"image": b64(photos[0]), "top_k": 0})
    calls = [partial(service.post, ROUTE, photo) for photo in photos]
    # The bad ones in front, in the middle and at the end.
    calls.insert(0, partial(service.post, ROUTE, b"no photo"))
    calls.insert(3, partial(service.post, ROUTE, half))
    calls.append(partial(service.post, ROUTE, bad_option, JSON))
    responses = at_once(calls)
    assert {response.headers["x-request-id"] for response in responses} == last_batch(record)
    problem_of(responses.pop(0), 415, "unsupported-image")
    problem_of(responses.pop(2), 400, "undecodable-image")
    problem_of(responses.pop(5), 422, "invalid-option")
    for response, photo in zip(responses, photos, strict=True):
        assert_answered_as_alone(service, response, photo)


def test_describe_and_explain_change_nothing_for_the_others(
    service: Service, record: Path, photos: list[bytes]
) -> None:
    explain = ROUTE.replace("/predictions/", "/explanations/")
    responses = at_once(
        [
            partial(service.post, ROUTE, photos[0], {"describe": "True"}),
            partial(service.post, ROUTE, photos[0]),
            partial(service.post, ROUTE, photos[1], {"explain": "True"}),
            partial(service.post, ROUTE, b"no photo", {"explain": "True"}),
            partial(service.post, explain, photos[2]),
            partial(service.post, explain, b"no photo"),
            partial(service.post, ROUTE, photos[3]),
            partial(service.post, ROUTE, b"no photo", {"describe": "True"}),
        ]
    )
    assert {response.headers["x-request-id"] for response in responses} == last_batch(record)
    described, first, with_header, bad, explained, unexplained, last, photoless = responses
    assert described.json() == photoless.json()
    assert described.json()["name"] == BATCHING
    assert_answered_as_alone(service, first, photos[0])
    # TorchServe sets `explain` itself, so that a client's header has no effect.
    assert_answered_as_alone(service, with_header, photos[1])
    problem_of(bad, 415, "unsupported-image")
    assert explained.json()["class"]["breed"] == "Russian Blue"
    problem_of(unexplained, 415, "unsupported-image")
    assert_answered_as_alone(service, last, photos[3])


@pytest.mark.parametrize("header", ["describe", "explain"])
def test_eight_clients_with_such_a_header_get_eight_answers(
    service: Service, record: Path, photos: list[bytes], header: str
) -> None:
    pid = service.worker_pid(BATCHING, VERSION)
    responses = at_once([lambda: service.post(ROUTE, photos[0], {header: "True"})] * 8)
    assert {response.headers["x-request-id"] for response in responses} == last_batch(record)
    assert [response.status_code for response in responses] == [200] * 8
    key = "intended_use" if header == "describe" else "predictions"
    assert all(key in response.json() for response in responses)
    assert service.worker_pid(BATCHING, VERSION) == pid
