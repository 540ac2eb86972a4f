"""Each body form, each kind of problem, through a real gateway and a real TorchServe."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from urllib3 import encode_multipart_formdata
from urllib3.fields import RequestField

from tests.answers import JSON, ask, b64, form, probabilities, problem_of
from tests.service import DEMO, R50, Service
from tests.web.gateway_process import GatewayProcess
from training.run_folder import read_run

Body = tuple[Any, dict[str, str]]

FORMS: dict[str, Callable[[bytes], Body]] = {
    "no content type": lambda photo: (photo, {}),
    "image type": lambda photo: (photo, {"Content-Type": "image/jpeg"}),
    "another type": lambda photo: (photo, {"Content-Type": "text/plain"}),
    "what curl calls a form": lambda photo: (
        photo,
        {"Content-Type": "application/x-www-form-urlencoded"},
    ),
    "chunked": lambda photo: (iter([photo[:7], photo[7:9000], photo[9000:]]), {}),
    "multipart": lambda photo: form(("file", ("cat.jpg", photo))),
    "multipart without a name": lambda photo: form(("", ("", photo))),
    "base64": lambda photo: (json.dumps({"image": b64(photo)}), JSON),
    "data URL": lambda photo: (json.dumps({"image": f"data:image/png;base64,{b64(photo)}"}), JSON),
}


def post(gateway: GatewayProcess, path: str, body: Body, **options: str) -> requests.Response:
    data, headers = body
    url = f"{gateway.url}/api/{path}"
    return requests.post(url, data=data, headers=headers, params=options, timeout=60)


@pytest.mark.parametrize("name", FORMS)
def test_each_form_gets_torchserves_answer(
    gateway: GatewayProcess, service: Service, cat_photo: bytes, name: str
) -> None:
    response = post(gateway, "classify", FORMS[name](cat_photo))
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    answer = response.json()
    assert (answer["model"], answer["version"]) == (DEMO, "0.1")
    expected = probabilities(ask(service, DEMO, cat_photo, 5))
    assert probabilities(answer) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("name", ["image type", "multipart", "base64"])
def test_each_form_takes_options_in_the_query(
    gateway: GatewayProcess, cat_photo: bytes, name: str
) -> None:
    asked = {"model": R50, "version": "1.0", "top_k": "3"}
    answer = post(gateway, "classify", FORMS[name](cat_photo), **asked).json()
    assert (answer["model"], len(answer["predictions"])) == (R50, 3)


def test_forms_carry_options_of_their_own(gateway: GatewayProcess, cat_photo: bytes) -> None:
    fields = form(("top_k", "2"), ("photo", ("cat.jpg", cat_photo)), ("model", R50))
    as_json = json.dumps({"image": b64(cat_photo), "top_k": 2, "model": R50}), JSON
    for body in (fields, as_json):
        answer = post(gateway, "classify", body).json()
        assert (answer["model"], len(answer["predictions"])) == (R50, 2)


def test_a_field_may_say_that_it_is_text(gateway: GatewayProcess, cat_photo: bytes) -> None:
    """As some libraries have every field of a form do."""
    photo = RequestField("photo", cat_photo, "cat.jpg")
    photo.make_multipart(content_type="image/jpeg")
    top_k = RequestField("top_k", "2")
    top_k.make_multipart(content_type="text/plain; charset=utf-8")
    body, content_type = encode_multipart_formdata([photo, top_k])
    answer = post(gateway, "classify", (body, {"Content-Type": content_type})).json()
    assert len(answer["predictions"]) == 2


def test_several_photos_get_each_its_own(gateway: GatewayProcess, cat_photo: bytes) -> None:
    photos = [cat_photo, b"no photo at all", cat_photo]
    parts = form(*(("photo", (f"{n}.jpg", photo)) for n, photo in enumerate(photos)))
    encoded = json.dumps({"images": [*(b64(photo) for photo in photos[:2]), "?"]}), JSON
    for body, last in ((parts, "predictions"), (encoded, "type")):
        response = post(gateway, "classify", body, top_k="1")
        assert response.status_code == 200
        first, second, third = response.json()["results"]
        assert first["predictions"][0]["breed"] == "Siamese"
        assert second["type"] == "urn:catbreeds:problem:unsupported-image"
        assert last in third


def test_a_list_stays_a_list_with_one_photo(gateway: GatewayProcess, cat_photo: bytes) -> None:
    for body in (
        form(("images", ("a.jpg", cat_photo))),
        (json.dumps({"images": [b64(cat_photo)]}), JSON),
    ):
        (only,) = post(gateway, "classify", body).json()["results"]
        assert only["model"] == DEMO


def test_many_photos_of_one_request_all_come_back_in_order(
    gateway: GatewayProcess, cat_photo: bytes, service: Service
) -> None:
    flipped = io.BytesIO()
    Image.open(io.BytesIO(cat_photo)).rotate(180).save(flipped, "PNG")
    photos = [cat_photo, flipped.getvalue()] * 16
    expected = [probabilities(ask(service, DEMO, photo, 1)) for photo in photos[:2]] * 16
    body = form(*(("images", (f"{n}", photo)) for n, photo in enumerate(photos)))
    results = post(gateway, "classify", body, top_k="1").json()["results"]
    got = [probabilities(result) for result in results]
    assert got == [pytest.approx(each, abs=1e-5) for each in expected]


def test_no_good_photo_gives_the_first_problems_status(gateway: GatewayProcess) -> None:
    body = form(("a", ("a", b"no photo")), ("b", ("b", b"nor this")))
    response = post(gateway, "classify", body)
    assert response.status_code == 415
    assert [each["status"] for each in response.json()["results"]] == [415, 415]


@pytest.mark.parametrize("name", ["image type", "multipart", "base64"])
def test_explanations_are_torchserves(
    gateway: GatewayProcess, service: Service, cat_photo: bytes, name: str
) -> None:
    explained = post(gateway, "explain", FORMS[name](cat_photo)).json()
    assert explained["class"]["breed"] == "Siamese"
    assert explained == service.post(f"/explanations/{DEMO}", cat_photo).json()
    assert explained["cells"] == {"first": 0, "step": 32}
    assert explained["input_size"] == [96, 96]
    picture = Image.open(io.BytesIO(base64.b64decode(explained["heatmap"])))
    assert (picture.size, picture.mode) == ((96, 96), "RGBA")
    chosen = post(gateway, "explain", FORMS[name](cat_photo), **{"class": "Persian"}).json()
    assert chosen["class"]["breed"] == "Persian"


def _json(content: object) -> Body:
    return json.dumps(content), JSON


# body, path with query, status, kind, what the detail says
REFUSED: dict[str, tuple[Callable[[bytes], Body], str, int, str, str]] = {
    "no photo": (lambda _: (b"no photo", {}), "classify", 415, "unsupported-image", "JPEG"),
    "JSON that says nothing": (
        lambda p: (json.dumps({"image": b64(p)}), {"Content-Type": "image/png"}),
        "classify",
        415,
        "unsupported-image",
        "JSON",
    ),
    "half a photo": (lambda p: (p[: len(p) // 3], {}), "classify", 400, "undecodable-image", ""),
    "nothing": (lambda _: (b"", {}), "classify", 400, "malformed-request", "empty"),
    "no file chosen": (
        lambda _: form(("file", ("", b""))),
        "classify",
        400,
        "malformed-request",
        "no photo",
    ),
    "urlencoded": (
        lambda _: ({"image": "x"}, {}),
        "classify",
        400,
        "malformed-request",
        "x-www-form-urlencoded",
    ),
    "no boundary": (
        lambda p: (p, {"Content-Type": "multipart/form-data"}),
        "classify",
        400,
        "malformed-request",
        "boundary",
    ),
    "broken multipart": (
        lambda p: (
            b"--x\r\nContent-\r\n\r\n--x--",
            {"Content-Type": "multipart/form-data; boundary=x"},
        ),
        "classify",
        400,
        "malformed-request",
        "multipart/form-data",
    ),
    "cut multipart": (
        lambda p: (
            form(("a", ("a", p)))[0][:-9],
            {"Content-Type": form(("a", ("a", p)))[1]["Content-Type"]},
        ),
        "classify",
        400,
        "malformed-request",
        "boundary",
    ),
    "no JSON": (lambda _: ("{", JSON), "classify", 400, "malformed-request", "not JSON"),
    "a list": (lambda _: _json([1]), "classify", 400, "malformed-request", "list of 1"),
    "two sources": (
        lambda p: _json({"image": b64(p), "images": [b64(p)]}),
        "classify",
        400,
        "malformed-request",
        "exactly one",
    ),
    "no base64": (lambda _: _json({"image": "###"}), "classify", 400, "malformed-request", "image"),
    "no string": (lambda _: _json({"image": 7}), "classify", 400, "malformed-request", "image: 7"),
    "empty list": (lambda _: _json({"images": []}), "classify", 400, "malformed-request", "images"),
    "33 photos": (
        lambda _: _json({"images": ["AAAA"] * 33}),
        "classify",
        413,
        "too-large",
        "at most 32",
    ),
    "33 parts": (
        lambda _: form(*(("a", ("a", b"x")) for _n in range(33))),
        "classify",
        413,
        "too-large",
        "at most 32",
    ),
    "16 MiB and a byte": (
        lambda _: (bytes(2**24 + 1), {}),
        "classify",
        413,
        "too-large",
        "16777216",
    ),
    "16 MiB and a byte in a form": (
        lambda _: form(("a", ("a", bytes(2**24 + 1)))),
        "classify",
        413,
        "too-large",
        "16777216",
    ),
    "16 MiB and a byte in base64": (
        lambda _: _json({"image": b64(bytes(2**24 + 1))}),
        "classify",
        413,
        "too-large",
        "16777216",
    ),
    "64 MiB and a byte": (
        lambda _: (bytes(2**26 + 1), {}),
        "classify",
        413,
        "too-large",
        "67108864",
    ),
    "pixels": (
        lambda _: (_png(10_000, 6_000), {}),
        "classify",
        413,
        "too-large",
        "pixels",
    ),
    "unknown field": (
        lambda p: form(("a", ("a", p)), ("colour", "red")),
        "classify",
        422,
        "invalid-option",
        "colour",
    ),
    "a long option": (
        lambda p: _json({"image": b64(p), "class": "x" * 201}),
        "explain",
        422,
        "invalid-option",
        "201 characters",
    ),
    "unknown parameter": (lambda p: (p, {}), "classify?k=3", 422, "invalid-option", "'k'"),
    "unknown key": (
        lambda p: _json({"image": b64(p), "k": 3}),
        "classify",
        422,
        "invalid-option",
        "'k'",
    ),
    "top_k": (lambda p: (p, {}), "classify?top_k=0", 422, "invalid-option", "1 to 67"),
    "two values": (lambda p: (p, {}), "classify?top_k=1&top_k=2", 422, "invalid-option", "twice"),
    "class": (lambda p: (p, {}), "classify?class=Persian", 422, "invalid-option", "/api/explain"),
    "unknown class": (lambda p: (p, {}), "explain?class=Dog", 422, "invalid-option", "'Dog'"),
    "top_k of explain": (lambda p: (p, {}), "explain?top_k=2", 422, "invalid-option", "classify"),
    "two to explain": (
        lambda p: _json({"images": [b64(p), b64(p)]}),
        "explain",
        422,
        "invalid-option",
        "one can be explained",
    ),
    "unknown model": (lambda p: (p, {}), "classify?model=dogs", 422, "invalid-option", DEMO),
    "unknown version": (lambda p: (p, {}), "classify?version=9.9", 404, "not-found", "9.9"),
    "a path as version": (
        lambda p: (p, {}),
        "classify?version=..%2F..%2Fmodels",
        422,
        "invalid-option",
        "version",
    ),
    "an address": (
        lambda _: _json({"url": "https://example.org/cat.jpg"}),
        "classify",
        422,
        "invalid-option",
        "switched off",
    ),
}


def _png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said(gateway: GatewayProcess, cat_photo: bytes, name: str) -> None:
    body, path, status, kind, says = REFUSED[name]
    response = post(gateway, path, body(cat_photo))
    assert says in problem_of(response, status, kind)


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/static/../settings.py", 404, "not-found"),
        ("GET", "/static/%2e%2e/settings.py", 404, "not-found"),
        ("GET", "/api/classify", 405, "method-not-allowed"),
        ("DELETE", "/", 405, "method-not-allowed"),
        ("GET", "/docs/", 404, "not-found"),
    ],
)
def test_other_paths_and_methods_are_problems_too(
    gateway: GatewayProcess, method: str, path: str, status: int, kind: str
) -> None:
    prepared = requests.Request(method, gateway.url).prepare()
    prepared.url = gateway.url + path  # as it stands: requests would resolve the dots
    with requests.Session() as session:
        problem_of(session.send(prepared, timeout=10), status, kind)


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/docs", "/api/models"])
def test_head_is_get_without_the_body(gateway: GatewayProcess, path: str) -> None:
    headers = {"Accept-Encoding": "identity"}
    head = requests.head(gateway.url + path, headers=headers, timeout=10)
    assert (head.status_code, head.content) == (200, b"")
    body = requests.get(gateway.url + path, headers=headers, timeout=10).content
    assert int(head.headers["Content-Length"]) == pytest.approx(len(body), abs=20)


def test_a_wrong_method_is_told_the_right_ones(gateway: GatewayProcess) -> None:
    answer = requests.put(gateway.url, timeout=10)
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "POST"}


def test_the_models_are_described(gateway: GatewayProcess, demo_run: Path) -> None:
    answer = requests.get(f"{gateway.url}/api/models", timeout=10).json()
    assert answer["default"] == DEMO
    demo = next(model for model in answer["models"] if model["name"] == DEMO)
    assert {model["name"] for model in answer["models"]} >= {DEMO, R50}
    assert (demo["default"], demo["versions"], demo["classes"]) == ("0.1", ["0.1"], 67)
    assert demo["input"] == {"resize": [96, 96], "crop": None}
    run = read_run(demo_run)
    assert demo["unsure_score"] == run.unsure_score == "probability"
    assert demo["unsure_threshold"] == run.unsure_threshold
    assert any("drawn" in limitation for limitation in demo["limitations"])
    assert answer["limits"]["bytes"] == 2**24


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutated_bodies_never_give_a_5xx(
    gateway: GatewayProcess, cat_photo: bytes, data: st.DataObject
) -> None:
    """Above all of the framing, which TorchServe by itself answers with 500."""
    name = data.draw(st.sampled_from(["image type", "multipart", "base64"]))
    content, headers = FORMS[name](cat_photo)
    content = bytearray(content.encode() if isinstance(content, str) else content)
    near = st.integers(0, 300) | st.integers(-300, -1) | st.integers(0, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(near)
        content[at : at + data.draw(st.integers(0, 3)) or None] = data.draw(st.binary(max_size=4))
        content = content or bytearray(b"\0")
    response = post(gateway, "classify", (bytes(content), headers))
    assert response.status_code < 500, response.text
    assert "request_id" in response.json() or response.ok or "results" in response.json()
