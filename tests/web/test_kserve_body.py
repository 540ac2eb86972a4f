"""What is wrong with a body of KServe's protocols is said, and never costs more than an answer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.answers import JSON, b64
from tests.service import DEMO
from tests.web.conftest import StartGateway
from tests.web.gateway_process import GatewayProcess
from tests.web.kserve_calls import BAD, EXPLAIN, V1, V2, post, refusal_of, v1, v2

# photo -> body, path, status, kind, what the detail says
REFUSED: dict[str, tuple[Callable[[bytes], object], str, int, str, str]] = {
    "no JSON": (lambda _: b"{", V1, 400, "malformed-request", "not JSON"),
    "nothing": (lambda _: b"", V2, 400, "malformed-request", "not JSON"),
    "the photo itself": (lambda p: p, V1, 400, "malformed-request", "UTF-8"),
    "a list": (lambda _: [1], V1, 400, "malformed-request", "'instances'"),
    "v2 for v1": (v2, V1, 400, "malformed-request", "'instances'"),
    "v1 for v2": (v1, V2, 400, "malformed-request", "'inputs'"),
    "a key twice": (
        lambda _: b'{"instances": [], "instances": []}',
        V1,
        400,
        "malformed-request",
        "twice",
    ),
    "no photo": (lambda _: v1(), V1, 400, "malformed-request", "instances: empty"),
    "no list": (lambda _: {"instances": 7}, V1, 400, "malformed-request", "instances: 7"),
    "JSON in base64": (
        lambda p: v1(json.dumps(v1(p)).encode()),
        V1,
        415,
        "unsupported-image",
        "instances[0]: photo: JSON",
    ),
    "33 photos": (lambda _: v1(*[b"x"] * 33), V1, 413, "too-large", "at most 32"),
    "33 photos in v2": (lambda _: v2(*[b"x"] * 33), V2, 413, "too-large", "at most 32"),
    "thousands": (lambda _: v1(*[b"x"] * 5000), V1, 400, "malformed-request", "32 photos need"),
    "16 MiB and a byte": (
        lambda _: v1(bytes(2**24 + 1)),
        V1,
        413,
        "too-large",
        "instances[0]: photo: 16777217 bytes",
    ),
    "64 MiB and a byte": (lambda _: bytes(2**26 + 1), V2, 413, "too-large", "67108864"),
    "a number": (
        lambda p: {"inputs": [{**v2(p)["inputs"][0], "datatype": "UINT8"}]},
        V2,
        400,
        "malformed-request",
        "'BYTES' is",
    ),
    "a shape": (
        lambda p: {"inputs": [{**v2(p)["inputs"][0], "shape": [2]}]},
        V2,
        400,
        "malformed-request",
        "[1] is",
    ),
    "two inputs": (
        lambda p: {"inputs": v2(p)["inputs"] * 2},
        V2,
        400,
        "malformed-request",
        "exactly one",
    ),
    "another output": (
        lambda p: v2(p, outputs=[{"name": "logits"}]),
        V2,
        422,
        "invalid-option",
        "predictions",
    ),
    "a long id": (lambda p: v2(p, id="x" * 201), V2, 422, "invalid-option", "201 characters"),
    "an id of another kind": (lambda p: v2(p, id=7), V2, 400, "malformed-request", "id: 7"),
    "unknown key": (lambda p: v1(p, k=3), V1, 422, "invalid-option", "'k'"),
    "unknown key beside a photo": (
        lambda p: {"instances": [{"b64": b64(p), "c": 1}]},
        V1,
        422,
        "invalid-option",
        "instances[0]: instance: unknown key 'c'",
    ),
    "unknown parameter": (lambda p: v1(p, parameters={"k": 3}), V1, 422, "invalid-option", "'k'"),
    "top_k of 0": (lambda p: v1(p, parameters={"top_k": 0}), V1, 422, "invalid-option", "top_k: 0"),
    "top_k of 68": (
        lambda p: v2(BAD, p, parameters={"top_k": 68}),
        V2,
        422,
        "invalid-option",
        "top_k: 68 is not allowed; an integer from 1 to 67 is",
    ),
    "top_k beside no photo": (
        lambda p: {"instances": [{"b64": "?"}, *v1(p)["instances"]], "parameters": {"top_k": 68}},
        V1,
        422,
        "invalid-option",
        "top_k: 68",
    ),
    "class": (lambda p: v1(p, parameters={"class": "Persian"}), V1, 422, "invalid-option", "class"),
    "unknown class": (
        lambda p: v1(p, parameters={"class": "Dog"}),
        EXPLAIN,
        422,
        "invalid-option",
        "'Dog'",
    ),
    "a long class": (
        lambda p: v1(p, parameters={"class": "x" * 201}),
        EXPLAIN,
        422,
        "invalid-option",
        "201 characters",
    ),
    "top_k of explain": (
        lambda p: v1(p, parameters={"top_k": 2}),
        EXPLAIN,
        422,
        "invalid-option",
        "top_k",
    ),
    "two to explain": (lambda p: v1(p, p), EXPLAIN, 422, "invalid-option", "one can be explained"),
    "binary answers": (
        lambda p: v2(p, parameters={"binary_data_output": True}),
        V2,
        422,
        "invalid-option",
        "parameters.binary_data_output",
    ),
    "a binary output": (
        lambda p: v2(p, outputs=[{"name": "predictions", "parameters": {"binary_data": True}}]),
        V2,
        422,
        "invalid-option",
        "outputs[0].parameters.binary_data",
    ),
    "in the query": (lambda p: v1(p), f"{V1}?top_k=3", 422, "invalid-option", "'top_k'"),
    "unknown model": (v1, "/v1/models/dogs:predict", 404, "not-found", DEMO),
    "unknown model in v2": (v2, "/v2/models/dogs/infer", 404, "not-found", "'dogs'"),
    "unknown version": (v2, f"/v2/models/{DEMO}/versions/9.9/infer", 404, "not-found", "9.9"),
    "a version that is none": (
        v2,
        f"/v2/models/{DEMO}/versions/a%20b/infer",
        422,
        "invalid-option",
        "version",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said(gateway: GatewayProcess, cat_photo: bytes, name: str) -> None:
    body, path, status, kind, says = REFUSED[name]
    assert says in refusal_of(post(gateway, path, body(cat_photo)), status, kind)


def test_binary_tensors_are_refused_and_their_absence_may_be_said(
    gateway: GatewayProcess, cat_photo: bytes
) -> None:
    """As by `InferRequestedOutput("predictions", binary_data=False)` of NVIDIA's client."""
    headers = JSON | {"Inference-Header-Content-Length": "100"}
    response = post(gateway, V2, v2(cat_photo), headers)
    assert "binary" in refusal_of(response, 422, "invalid-option")
    output = {"name": "predictions", "parameters": {"binary_data": False}}
    body = v2(cat_photo, outputs=[output], parameters={"binary_data_output": False, "top_k": 1})
    assert post(gateway, V2, body).status_code == 200


def test_a_compressed_body_is_refused(gateway: GatewayProcess, cat_photo: bytes) -> None:
    body = gzip.compress(json.dumps(v1(cat_photo)).encode())
    response = post(gateway, V1, body, JSON | {"Content-Encoding": "gzip"})
    assert "'gzip' is not taken" in refusal_of(response, 422, "invalid-option")


def test_a_photo_that_is_too_large_harms_no_other(
    start_gateway: StartGateway, cat_photo: bytes
) -> None:
    gateway = start_gateway(photo_bytes=len(cat_photo), photos=2).wait_until_ready()
    good, large = post(gateway, V1, v1(cat_photo, cat_photo + b"x")).json()["predictions"]
    assert good["predictions"][0]["breed"] == "Siamese"
    assert large["status"] == 413
    assert large["detail"].startswith(f"instances[1]: photo: {len(cat_photo) + 1} bytes")
    response = post(gateway, V2, v2(*[cat_photo] * 3))
    assert "at most 2" in refusal_of(response, 413, "too-large")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutated_bodies_never_give_a_5xx(
    gateway: GatewayProcess, cat_photo: bytes, data: st.DataObject
) -> None:
    path, body = data.draw(
        st.sampled_from(
            [
                (V1, v1(cat_photo, BAD, parameters={"top_k": 2})),
                (V2, v2(cat_photo, id="x", parameters={"top_k": 2})),
            ]
        )
    )
    content = bytearray(json.dumps(body).encode())
    near = st.integers(0, 100) | st.integers(-100, -1) | st.integers(0, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(near)
        content[at : at + data.draw(st.integers(0, 3)) or None] = data.draw(st.binary(max_size=4))
    response = post(gateway, path, bytes(content))
    assert response.status_code < 500, response.text
    assert response.ok or "error" in response.json()
