"""What cannot be answered is refused with a problem that names the key, the value, the allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import requests

from tests.answers import JSON, ask, b64, form, problem_of
from tests.images import encode, gif_of_frames, png_that_claims, rgb
from tests.service import DEMO, R50, Service

URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Case:
    """A bad request: its body made from a good photo, its headers, and what must come back."""

    body: Callable[[bytes], bytes | str]
    status: int
    kind: str
    says: tuple[str, ...]
    headers: dict[str, str] = field(default_factory=dict)


def of_json(change: Callable[[str], object]) -> Callable[[bytes], str]:
    return lambda photo: json.dumps(change(b64(photo)))


def json_case(change: Callable[[str], object], status: int, kind: str, *says: str) -> Case:
    return Case(of_json(change), status, kind, says, JSON)


def top_k_case(value: object) -> Case:
    said = ("top_k", repr(value)[:20], "1 to 67")
    return json_case(lambda p: {"image": p, "top_k": value}, 422, "invalid-option", *said)


CASES = {
    # 400: an image file that does not decode
    "empty": Case(lambda _: b"", 400, "undecodable-image", ("empty", "JPEG")),
    "truncated": Case(lambda p: p[: len(p) // 2], 400, "undecodable-image", ("truncated",)),
    "torn header": Case(lambda p: p[:20], 400, "undecodable-image", ("JPEG", "damaged")),
    # 400: a body in no form
    "no json": Case(lambda _: b'{"image": ', 400, "malformed-request", ("not JSON",), JSON),
    "json list": json_case(lambda p: [p], 400, "malformed-request", "not an object"),
    "no known key": json_case(lambda p: {"photo": p}, 400, "malformed-request", "photo", "image"),
    "key twice": Case(
        lambda _: b'{"image": "", "image": ""}', 400, "malformed-request", ("image", "twice"), JSON
    ),
    "NaN": Case(lambda _: b'{"image": NaN}', 400, "malformed-request", ("NaN",), JSON),
    "not utf-8": Case(lambda _: b'{"image": "\xff"}', 400, "malformed-request", ("UTF-8",), JSON),
    "nested": Case(lambda _: b"[" * 100_000, 400, "malformed-request", ("nested",), JSON),
    "not base64": json_case(lambda p: {"image": "*" + p}, 400, "malformed-request", "image"),
    "image is a number": json_case(lambda _: {"image": 7}, 400, "malformed-request", "image", "7"),
    "data url without base64": json_case(
        lambda _: {"image": "data:image/png,abc"}, 400, "malformed-request", "image", ";base64"
    ),
    "no instances": json_case(lambda _: {"instances": []}, 400, "malformed-request", "instances"),
    "instance without b64": json_case(
        lambda _: {"instances": [{}]}, 400, "malformed-request", "instances[0]", "b64"
    ),
    "wrong datatype": json_case(
        lambda p: {"inputs": [{"name": "a", "datatype": "FP32", "shape": [1], "data": [p]}]},
        400,
        "malformed-request",
        "datatype",
        "FP32",
        "BYTES",
    ),
    "wrong shape": json_case(
        lambda p: {"inputs": [{"name": "a", "datatype": "BYTES", "shape": [2], "data": [p]}]},
        400,
        "malformed-request",
        "inputs[0].shape",
        "[2]",
        "[1]",
    ),
    "urlencoded": Case(
        lambda _: b"a=b", 400, "malformed-request", ("urlencoded", "curl"), URLENCODED
    ),
    # 413: more than the limits of model-config.yaml
    "bytes": Case(
        lambda p: p + bytes(16 * 1024 * 1024), 413, "too-large", ("bytes", "16777216 are taken")
    ),
    "bytes in base64": json_case(
        lambda _: {"image": "A" * (23 * 1024 * 1024)}, 413, "too-large", "16777216 are taken"
    ),
    "pixels": Case(
        lambda _: png_that_claims(10_000, 5_001),
        413,
        "too-large",
        ("10000 x 5001 = 50010000 pixels", "50000000 are taken"),
    ),
    "more pixels than Pillow itself takes": Case(
        lambda _: png_that_claims(2**31 - 1, 2**31 - 1), 413, "too-large", ("50000000",)
    ),
    "frames": Case(lambda _: gif_of_frames(1001), 413, "too-large", ("frames", "1000")),
    "photos": json_case(
        lambda _: {"instances": [{"b64": ""}] * 33}, 413, "too-large", "33 photos", "32 are taken"
    ),
    # 415: no image format that is taken
    "text": Case(lambda _: b"not a photo", 415, "unsupported-image", ("JPEG", "HEIC")),
    "pdf": Case(lambda _: b"%PDF-1.7\n%abc", 415, "unsupported-image", ("not an image format",)),
    "svg": Case(lambda _: b"<svg xmlns=''/>", 415, "unsupported-image", ("not an image format",)),
    "ico": Case(lambda p: encode(rgb(p), "ICO"), 415, "unsupported-image", ("not an image",)),
    "ppm": Case(lambda p: encode(rgb(p), "PPM"), 415, "unsupported-image", ("not an image",)),
    # 422: an option that cannot be
    "top_k 0": top_k_case(0),
    "top_k 68": top_k_case(68),
    "top_k -1": top_k_case(-1),
    "top_k 1.5": top_k_case(1.5),
    "top_k true": top_k_case(True),
    "top_k text": top_k_case("many"),
    "top_k huge": top_k_case(10**30),
    "top_k list": json_case(
        lambda p: {"image": p, "top_k": [1, 2]}, 422, "invalid-option", "top_k", "list of 2"
    ),
    "unknown key": json_case(
        lambda p: {"image": p, "topk": 1}, 422, "invalid-option", "topk", "top_k"
    ),
    "unknown parameter": json_case(
        lambda p: {"instances": [{"b64": p}], "parameters": {"k": 1}},
        422,
        "invalid-option",
        "parameters",
        "'k'",
        "top_k",
    ),
    "class of a prediction": json_case(
        lambda p: {"image": p, "class": "Siamese"}, 422, "invalid-option", "class", "/explanations"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_problem_names_the_key_the_value_and_what_is_allowed(
    service: Service, cat_photo: bytes, case: Case
) -> None:
    response = service.post(f"/predictions/{DEMO}", case.body(cat_photo), case.headers)
    detail = problem_of(response, case.status, case.kind)
    for part in case.says:
        assert part in detail


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([("top_k", "0")], "top_k"),
        ([("top_k", "3.0")], "top_k"),
        ([("topk", "3")], "topk"),
    ],
)
def test_multipart_options_are_checked_as_strictly(
    service: Service, cat_photo: bytes, parts: list[tuple[str, str]], says: str
) -> None:
    body, headers = form(("photo", ("cat.jpg", cat_photo)), *parts)
    response = service.post(f"/predictions/{R50}", body, headers)
    assert says in problem_of(response, 422, "invalid-option")


def test_a_form_without_a_file_is_malformed(service: Service) -> None:
    response = service.post(f"/predictions/{DEMO}", *form(("top_k", "3")))
    assert "no photo" in problem_of(response, 400, "malformed-request")


def test_a_frame_less_is_taken(service: Service) -> None:
    assert service.post(f"/predictions/{DEMO}", gif_of_frames(1000)).status_code == 200


def test_torchserve_itself_refuses_what_is_far_too_large_and_goes_on(
    service: Service, cat_photo: bytes
) -> None:
    pid = service.worker_pid(DEMO, "0.1")
    response = service.post(f"/predictions/{DEMO}", bytes(25_165_825))
    assert response.status_code == 413
    assert ask(service, DEMO, cat_photo)
    assert service.worker_pid(DEMO, "0.1") == pid


@pytest.mark.parametrize("model", ["no-such-model", f"{DEMO}/9.9"])
def test_an_unknown_model_or_version_is_not_found(
    service: Service, cat_photo: bytes, model: str
) -> None:
    response = service.post(f"/predictions/{model}", cat_photo)
    assert response.status_code == 404
    assert model.partition("/")[0] in response.json()["message"]


@pytest.mark.parametrize(
    "path", [f"/predictions/{DEMO}", f"/explanations/{DEMO}", f"/v2/models/{DEMO}/infer", "/ping"]
)
@pytest.mark.parametrize("token", [None, "wrong", "management"])
def test_without_the_inference_token_nothing_is_answered(
    service: Service, cat_photo: bytes, path: str, token: str | None
) -> None:
    # A management token is not an inference token either.
    value = service.token("management") if token == "management" else token
    headers = {} if value is None else {"Authorization": f"Bearer {value}"}
    response = requests.post(
        service.server.inference_url + path, cat_photo, headers=headers, timeout=60
    )
    assert response.status_code == 400
    assert response.json()["type"] == "InvalidKeyException"


def test_an_inference_token_manages_nothing(service: Service) -> None:
    for method, path in (
        ("GET", "/models"),
        ("GET", f"/models/{DEMO}"),
        ("PUT", f"/models/{DEMO}?min_worker=2"),
        ("DELETE", f"/models/{DEMO}"),
        ("POST", "/models?url=any.mar"),
        ("GET", "/token?type=management"),
    ):
        response = requests.request(
            method,
            service.server.management_url + path,
            headers={"Authorization": f"Bearer {service.token()}"},
            timeout=60,
        )
        assert response.status_code == 400, (method, path)
        assert response.json()["type"] == "InvalidKeyException"
