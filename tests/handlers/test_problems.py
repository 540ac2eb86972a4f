from __future__ import annotations

import json

import pytest

from handlers import problems
from handlers.problems import (
    InternalError,
    InvalidOption,
    MalformedRequest,
    Problem,
    TooLarge,
    UndecodableImage,
    UnsupportedImage,
    shorten,
)


@pytest.mark.parametrize(
    ("kind", "status", "urn"),
    [
        (MalformedRequest, 400, "urn:catbreeds:problem:malformed-request"),
        (UndecodableImage, 400, "urn:catbreeds:problem:undecodable-image"),
        (TooLarge, 413, "urn:catbreeds:problem:too-large"),
        (UnsupportedImage, 415, "urn:catbreeds:problem:unsupported-image"),
        (InvalidOption, 422, "urn:catbreeds:problem:invalid-option"),
        (InternalError, 500, "urn:catbreeds:problem:internal-error"),
    ],
)
def test_body_has_the_members_of_rfc_9457(kind: type[Problem], status: int, urn: str) -> None:
    body = kind("key: value").to_body("id-1")
    assert body == {
        "type": urn,
        "title": kind.title,
        "status": status,
        "detail": "key: value",
        "request_id": "id-1",
    }


def test_no_two_kinds_share_a_type() -> None:
    kinds = [kind for kind in vars(problems).values() if isinstance(kind, type)]
    slugs = [kind.slug for kind in kinds if issubclass(kind, Problem) and kind is not Problem]
    assert len(slugs) == len(set(slugs)) == 6


def test_place_comes_before_the_detail() -> None:
    moved = TooLarge("photo: big").at("instances[2]")
    assert isinstance(moved, TooLarge)
    assert moved.detail == "instances[2]: photo: big"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"secret photo", "12 bytes"),
        (bytearray(5), "5 bytes"),
        ({"a": 1}, "object of 1"),
        ([1, 2], "list of 2"),
        (3, "3"),
        ("three", "'three'"),
        (None, "None"),
        pytest.param(10**5000, "an integer of thousands of digits", id="huge"),
    ],
)
def test_values_are_shown_briefly(value: object, text: str) -> None:
    assert shorten(value) == text


def test_long_values_are_cut() -> None:
    assert len(shorten("x" * 10_000_000)) == 60
    assert shorten("x" * 100, 10) == "'xxxxxx..."


def test_body_of_any_text_is_json() -> None:
    body = InvalidOption(shorten("\ud800 ü \x00")).to_body(None)
    json.dumps(body).encode("ascii")
