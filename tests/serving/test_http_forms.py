"""Each body form gets the same answer over HTTP, from both models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.answers import JSON, ask, b64, form, problem_of
from tests.service import DEMO, R50, Service

BOTH = pytest.mark.parametrize("model", [DEMO, R50])
RESULT_KEYS = {"model", "version", "predictions", "unsure", "timing_ms"}


@pytest.fixture(scope="module")
def photos(unseen_cats: Path) -> list[bytes]:
    """A drawn Siamese, Sphynx and Bengal."""
    breeds = ("Siamese", "Sphynx - Hairless Cat", "Bengal")
    folders = [unseen_cats / "images" / breed for breed in breeds]
    return [min(folder.glob("*.jpg")).read_bytes() for folder in folders]


def named(response: requests.Response) -> list[Any]:
    """The predictions of a good answer to one photo."""
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    answer = response.json()
    assert set(answer) == RESULT_KEYS
    predictions: list[Any] = answer["predictions"]
    return predictions


def kserve_v2(photos: list[bytes], **more: object) -> str:
    data = [b64(photo) for photo in photos]
    tensor = {"name": "photos", "datatype": "BYTES", "shape": [len(data)], "data": data}
    return json.dumps({"inputs": [tensor], **more})


@BOTH
@pytest.mark.parametrize("content_type", [None, "image/jpeg", "application/octet-stream"])
def test_raw_body(
    service: Service, photos: list[bytes], model: str, content_type: str | None
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = service.post(f"/predictions/{model}", photos[0], headers)
    assert named(response) == ask(service, model, photos[0], 5)["predictions"]
    answer = response.json()
    assert (answer["model"], answer["version"]) == (model, "0.1" if model == DEMO else "1.0")
    assert isinstance(answer["unsure"], bool)
    assert set(answer["timing_ms"]) == {"decode", "inference"}
    ranks = [best["probability"] for best in answer["predictions"]]
    assert ranks == sorted(ranks, reverse=True)


@BOTH
@pytest.mark.parametrize("name", ["data", "body", "photo", "mein Foto", "猫"])
def test_multipart_under_any_name(
    service: Service, photos: list[bytes], model: str, name: str
) -> None:
    body, headers = form((name, ("cat.jpg", photos[0])))
    response = service.post(f"/predictions/{model}", body, headers)
    assert named(response) == ask(service, model, photos[0], 5)["predictions"]


@pytest.mark.parametrize("place", [0, 1])
def test_multipart_with_top_k_before_or_behind_the_photo(
    service: Service, photos: list[bytes], place: int
) -> None:
    parts: list[tuple[str, str | tuple[str, bytes]]] = [("photo", ("cat.jpg", photos[0]))]
    parts.insert(place, ("top_k", "3"))
    response = service.post(f"/predictions/{DEMO}", *form(*parts))
    assert named(response) == ask(service, DEMO, photos[0], 3)["predictions"]


def test_of_several_file_parts_the_first_counts(service: Service, photos: list[bytes]) -> None:
    parts = [(name, (f"{name}.jpg", photo)) for name, photo in zip("zab", photos, strict=True)]
    response = service.post(f"/predictions/{DEMO}", *form(*parts))
    assert named(response) == ask(service, DEMO, photos[0], 5)["predictions"]


@BOTH
@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,", "data:;base64,"])
def test_json_with_base64_or_data_url(
    service: Service, photos: list[bytes], model: str, prefix: str
) -> None:
    body = json.dumps({"image": prefix + b64(photos[0]), "top_k": 4})
    response = service.post(f"/predictions/{model}", body, JSON)
    assert named(response) == ask(service, model, photos[0], 4)["predictions"]


@pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8", "text/plain"])
def test_json_is_known_by_its_content_type_or_its_first_byte(
    service: Service, photos: list[bytes], content_type: str | None
) -> None:
    body = json.dumps({"image": b64(photos[0])}).encode()
    headers = {"Content-Type": content_type} if content_type else {}
    response = service.post(f"/predictions/{DEMO}", body, headers)
    assert named(response) == ask(service, DEMO, photos[0], 5)["predictions"]


@BOTH
@pytest.mark.parametrize("route", ["/predictions/{}", "/v1/models/{}:predict"])
def test_kserve_v1(service: Service, photos: list[bytes], model: str, route: str) -> None:
    instances: list[Any] = [{"b64": b64(photo)} for photo in photos]
    instances[1] = {"image": instances[1]}
    body = json.dumps({"instances": instances, "parameters": {"top_k": 2}})
    response = service.post(route.format(model), body, JSON)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert set(answer) == {"predictions"}
    together = [one["predictions"] for one in answer["predictions"]]
    for photo, got in zip(photos, together, strict=True):
        alone = ask(service, model, photo, 2)["predictions"]
        assert [best["breed"] for best in got] == [best["breed"] for best in alone]
        for ours, theirs in zip(got, alone, strict=True):
            # Three photos at once are summed in another order than one.
            assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-4)


@BOTH
@pytest.mark.parametrize("route", ["/predictions/{}", "/v2/models/{}/infer"])
def test_kserve_v2(service: Service, photos: list[bytes], model: str, route: str) -> None:
    body = kserve_v2(photos[:2], id="a-1", parameters={"top_k": 2})
    response = service.post(route.format(model), body, JSON)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["model_name"] == model
    assert answer["model_version"]
    assert answer["id"] == "a-1"
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("predictions", "BYTES", [2])
    for photo, text in zip(photos[:2], output["data"], strict=True):
        got = json.loads(text)
        assert set(got) == RESULT_KEYS
        alone = ask(service, model, photo, 2)["predictions"]
        assert [best["breed"] for best in got["predictions"]] == [best["breed"] for best in alone]


def test_one_bad_photo_among_kserve_instances_has_its_problem_in_its_place(
    service: Service, photos: list[bytes]
) -> None:
    instances = [{"b64": b64(photo)} for photo in (photos[0], b"no photo", photos[1])]
    response = service.post(f"/predictions/{DEMO}", json.dumps({"instances": instances}), JSON)
    assert response.status_code == 200
    first, bad, last = response.json()["predictions"]
    assert first["predictions"][0]["breed"] == "Siamese"
    assert last["predictions"][0]["breed"] == "Sphynx - Hairless Cat"
    assert bad["status"] == 415
    assert bad["detail"].startswith("instances[1]: photo: not an image format")


def test_kserve_with_bad_photos_only_is_a_problem(service: Service) -> None:
    response = service.post(f"/v2/models/{DEMO}/infer", kserve_v2([b"no", b"photos"]), JSON)
    detail = problem_of(response, 415, "unsupported-image")
    assert detail.startswith("inputs[0].data[0]: ")


def test_a_version_can_be_named(service: Service, photos: list[bytes]) -> None:
    response = service.post(f"/predictions/{R50}/1.0", photos[0])
    assert named(response) == ask(service, R50, photos[0], 5)["predictions"]


def test_top_k_goes_from_one_to_all_classes(service: Service, photos: list[bytes]) -> None:
    everything = ask(service, DEMO, photos[0], 67)["predictions"]
    assert len({best["class_id"] for best in everything}) == 67
    assert ask(service, DEMO, photos[0], 1)["predictions"] == everything[:1]
