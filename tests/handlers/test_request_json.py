from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.config import Limits
from handlers.problems import MalformedRequest, Problem, TooLarge
from handlers.request_json import decode_base64, load_json

LIMITS = Limits(bytes=100)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{'image': 1}", "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"top_k": 1, "top_k": 2}', "'top_k' is given twice"),
        (b'{"a": "\xff"}', "byte 7 is not"),
        (b'{"a": ' + b"1" * 5000 + b"}", "too many digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_strict_json_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedRequest, match=reason):
        load_json(body)


def test_a_byte_order_mark_is_skipped() -> None:
    assert load_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@given(st.binary(min_size=1, max_size=100))
def test_every_spelling_of_base64_is_read(data: bytes) -> None:
    usual = base64.b64encode(data).decode()
    url_safe = base64.urlsafe_b64encode(data).decode()
    spellings = [
        usual,
        usual.rstrip("="),
        url_safe,
        url_safe.rstrip("="),
        "\r\n".join(usual[i : i + 7] for i in range(0, len(usual), 7)) + "\n",
        f"data:image/jpeg;base64,{usual}",
        f"DATA:;charset=x;BASE64, {usual}",
    ]
    for spelling in spellings:
        assert decode_base64("image", spelling, LIMITS) == data


@pytest.mark.parametrize(
    "value",
    [
        "!!!!",
        "QUJD*",
        "QQ==QQ==",
        "Q",
        "QUJDé",
        "\ud800",
        "data:image/png,abc",
        "data:image/png;base64",
        "http://example.com/cat.jpg",
        None,
        5,
        ["QUJD"],
        {"b64": "QUJD"},
    ],
)
def test_what_is_not_base64_is_refused_by_key(value: object) -> None:
    with pytest.raises(MalformedRequest, match=r"^image: ") as caught:
        decode_base64("image", value, LIMITS)
    assert len(caught.value.detail) < 200


def test_size_is_that_of_the_decoded_photo() -> None:
    at_limit = base64.b64encode(bytes(100)).decode()
    assert len(decode_base64("image", at_limit, LIMITS)) == 100
    with pytest.raises(TooLarge, match="101 bytes; at most 100"):
        decode_base64("image", base64.b64encode(bytes(101)).decode(), LIMITS)


@given(st.text(max_size=200))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    try:
        status = 200 if len(decode_base64("image", text, LIMITS)) <= 100 else 500
    except Problem as problem:
        status = problem.status
    assert status < 500
