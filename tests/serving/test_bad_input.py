"""Whatever bytes come in, each request gets an answer that is not a 5xx, and the worker lives."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.answers import JSON, b64, form
from tests.images import encode
from tests.service import DEMO, Service

# 4 x 50 requests, and more where one fails: hypothesis then looks for the smallest.
bounded = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

_PICTURE = Image.effect_noise((20, 24), 60).convert("RGB")
_FRAME = _PICTURE.transpose(Image.Transpose.ROTATE_180)
SEEDS = [
    encode(_PICTURE, "JPEG"),
    encode(_PICTURE, "JPEG", progressive=True),
    encode(_PICTURE, "PNG"),
    encode(_PICTURE, "WEBP"),
    encode(_PICTURE, "WEBP", lossless=True, save_all=True, append_images=[_FRAME]),
    encode(_PICTURE, "GIF", save_all=True, append_images=[_FRAME]),
    encode(_PICTURE, "BMP"),
    encode(_PICTURE, "TIFF", compression="tiff_lzw"),
    encode(_PICTURE, "TIFF"),
    encode(_PICTURE, "AVIF"),
    encode(_PICTURE, "HEIF"),
]
_B64 = b64(SEEDS[2])
JSON_SEEDS = [
    json.dumps(body).encode()
    for body in (
        {"image": _B64, "top_k": 3},
        {"image": "data:image/png;base64," + _B64},
        {"instances": [{"b64": _B64}, {"image": {"b64": _B64}}], "parameters": {"top_k": 2}},
        {
            "inputs": [{"name": "a", "datatype": "BYTES", "shape": [1], "data": [_B64]}],
            "id": "1",
        },
    )
]


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with bytes changed, cut out, put in, or its end taken from another seed."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "cut", "put", "truncate", "splice"])):
            case "flip" if place < len(data):
                data[place] ^= draw(st.integers(1, 255))
            case "cut":
                del data[place : place + draw(st.integers(1, 64))]
            case "put":
                data[place:place] = draw(st.binary(min_size=1, max_size=16))
            case "truncate":
                del data[place:]
            case "splice":
                other = draw(st.sampled_from(seeds))
                data[place:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)


@pytest.fixture(autouse=True, scope="module")
def the_worker_lives(service: Service) -> Iterator[None]:
    before = service.worker_pid(DEMO, "0.1")
    yield
    assert service.worker_pid(DEMO, "0.1") == before


def refused_or_answered(
    service: Service, body: bytes, headers: dict[str, str] | None = None
) -> None:
    response = service.post(f"/predictions/{DEMO}", body, headers)
    assert response.status_code in (200, 400, 413, 415, 422), response.text
    if response.status_code != 200:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["detail"]


@bounded
@given(body=st.binary(max_size=2000))
@pytest.mark.parametrize("headers", [{}, JSON], ids=["raw", "json"])
def test_random_bytes(service: Service, headers: dict[str, str], body: bytes) -> None:
    refused_or_answered(service, body, headers)


@bounded
@given(body=mutated(SEEDS))
def test_mutated_photos(service: Service, body: bytes) -> None:
    refused_or_answered(service, body)


@bounded
@given(body=mutated(JSON_SEEDS))
def test_mutated_json(service: Service, body: bytes) -> None:
    refused_or_answered(service, body, JSON)


@bounded
@given(photo=mutated(SEEDS), top_k=st.text(max_size=8))
def test_mutated_photos_in_a_form(service: Service, photo: bytes, top_k: str) -> None:
    refused_or_answered(service, *form(("photo", ("x", photo)), ("top_k", top_k)))


@settings(bounded, max_examples=20)
@given(photo=mutated(SEEDS))
def test_mutated_photos_to_explain(service: Service, photo: bytes) -> None:
    response = service.post(f"/explanations/{DEMO}", photo)
    assert response.status_code in (200, 400, 413, 415), response.text


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=x",
    ],
)
def test_what_torchserve_itself_cannot_take_apart_does_not_reach_the_worker(
    service: Service, cat_photo: bytes, content_type: str
) -> None:
    """Its form parser answers some of these with 500 before the handler sees anything.

    The handler can do nothing about that; a gateway before it can.
    """
    body = cat_photo if "boundary=x" not in content_type else b"--x\r\nContent-\r\n\r\n--x--"
    response = service.post(f"/predictions/{DEMO}", body, {"Content-Type": content_type})
    assert response.status_code in (400, 500)
    assert service.post(f"/predictions/{DEMO}", cat_photo).status_code == 200


def test_the_photos_of_the_mutations_are_good_ones(service: Service) -> None:
    for photo in SEEDS:
        assert service.post(f"/predictions/{DEMO}", photo).status_code == 200
    for body in JSON_SEEDS:
        assert service.post(f"/predictions/{DEMO}", body, JSON).status_code == 200
