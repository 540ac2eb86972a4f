from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.config import Limits
from handlers.problems import InvalidOption, MalformedRequest, Problem, TooLarge
from handlers.requests import PhotoRequest, parse_request

PHOTO = b"\xff\xd8 a photo"
B64 = base64.b64encode(PHOTO).decode()
LIMITS = Limits(bytes=100, photos=3)
JSON_BODY = {"body": {"content-type": "application/json"}}


def parse(fields: dict[str, Any], headers: dict[str, Any] | None = None) -> PhotoRequest:
    return parse_request(fields, headers or {}, LIMITS, most_top_k=6)


def parse_json(body: object) -> PhotoRequest:
    return parse({"body": bytearray(json.dumps(body).encode())}, JSON_BODY)


@pytest.mark.parametrize("name", ["body", "data", "image", "anything"])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_raw_photo_is_taken_whatever_its_field(name: str, kind: type[bytes]) -> None:
    assert parse({name: kind(PHOTO)}) == PhotoRequest("image", (PHOTO,))


def test_the_first_file_part_is_the_photo() -> None:
    fields = {"top_k": bytearray(b" 3 "), "cat": bytearray(PHOTO), "dog": bytearray(b"other")}
    headers = {
        "Content-Type": "multipart/form-data; boundary=x",
        "top_k": {"content-type": ""},
        "cat": {"content-type": "image/jpeg"},
        "dog": {"content-type": "image/jpeg"},
    }
    assert parse(fields, headers) == PhotoRequest("image", (PHOTO,), top_k=3)


def test_fields_of_grpc_have_no_content_type() -> None:
    headers = {"photo": {"content-type": ""}, "class": {"content-type": ""}}
    request = parse({"class": bytearray(b"Sphynx"), "photo": bytearray(PHOTO)}, headers)
    assert request == PhotoRequest("image", (PHOTO,), target="Sphynx")


def test_an_unknown_text_field_is_refused_by_name() -> None:
    with pytest.raises(InvalidOption, match=r"'topk'.*top_k"):
        parse({"data": bytearray(PHOTO), "topk": bytearray(b"3")})


@pytest.mark.parametrize("fields", [{}, {"top_k": b"3"}])
def test_a_request_without_a_photo_says_what_is_taken(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedRequest, match=r"image file.*instances.*inputs"):
        parse(fields)


def test_a_form_without_files_says_how_to_send_one() -> None:
    with pytest.raises(MalformedRequest, match="curl use -T"):
        parse({"a": b"b"}, {"CONTENT-TYPE": "application/x-www-form-urlencoded; charset=x"})


@pytest.mark.parametrize("image", [B64, f"data:image/jpeg;base64,{B64}"])
def test_json(image: str) -> None:
    body = {"image": image, "top_k": 2, "class": 4}
    assert parse_json(body) == PhotoRequest("json", (PHOTO,), top_k=2, target=4)


def test_json_needs_no_content_type_and_may_be_parsed_already() -> None:
    expected = PhotoRequest("json", (PHOTO,))
    assert parse({"body": f'\n {{"image": "{B64}"}}'.encode()}) == expected
    assert parse({"body": f'{{"image": "{B64}"}}'}) == expected
    assert parse({"data": {"image": B64}}) == expected


def test_fields_beside_json_are_options_too() -> None:
    request = parse({"data": f'{{"image": "{B64}"}}'.encode(), "top_k": b"2"})
    assert request == PhotoRequest("json", (PHOTO,), top_k=2)


@pytest.mark.parametrize("body", [None, 3, "text", [], [{"image": B64}], True])
def test_json_that_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(MalformedRequest, match="body: JSON, but not an object"):
        parse_json(body)
    if not isinstance(body, str):
        with pytest.raises(MalformedRequest):
            parse({"body": body})


@pytest.mark.parametrize("body", [{}, {"img": B64}, {"top_k": 3}])
def test_json_of_no_known_form_is_refused(body: object) -> None:
    with pytest.raises(MalformedRequest, match="none of image, instances, inputs"):
        parse_json(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"image": B64, "topk": 3}, ["unknown key 'topk'", "top_k"]),
        ({"instances": [{"b64": B64}], "top_k": 3}, ["unknown key 'top_k'", "parameters"]),
        ({"instances": [{"b64": B64}], "parameters": {"k": 3}}, ["unknown key 'k'", "top_k"]),
        ({"inputs": [], "model": "x"}, ["unknown key 'model'"]),
        ({"inputs": [{"dtype": "BYTES"}]}, ["inputs[0]: unknown key 'dtype'", "datatype"]),
        ({"inputs": [], "outputs": [{"name": "logits"}]}, ["outputs", "predictions"]),
    ],
)
def test_unknown_keys_are_refused_by_name(body: object, words: list[str]) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_json(body)
    for word in words:
        assert word in caught.value.detail


@pytest.mark.parametrize("top_k", [0, -1, 7, 2.0, 2.5, "x", "", "7", "٣", True, [], {}, 10**300])
def test_top_k_out_of_its_range_is_refused(top_k: object) -> None:
    bodies: list[object] = [
        {"image": B64, "top_k": top_k},
        {"instances": [{"b64": B64}], "parameters": {"top_k": top_k}},
    ]
    for body in bodies:
        with pytest.raises(InvalidOption, match=r"top_k: .* an integer from 1 to 6 is"):
            parse_json(body)
    if isinstance(top_k, str):
        with pytest.raises(InvalidOption):
            parse({"data": PHOTO, "top_k": top_k.encode()})


@pytest.mark.parametrize("target", [True, 1.5, [], {}])
def test_a_class_is_a_name_or_an_id(target: object) -> None:
    with pytest.raises(InvalidOption, match=r"class: .* name or id"):
        parse_json({"image": B64, "class": target})


def test_an_option_field_that_is_no_text_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="not UTF-8"):
        parse({"data": PHOTO, "top_k": b"\xff"})


def test_kserve_v1() -> None:
    body = {
        "instances": [{"b64": B64}, {"image": {"b64": B64}}],
        "parameters": {"top_k": 1, "class": "Bengal"},
    }
    request = parse_json(body)
    assert request == PhotoRequest("kserve-v1", (PHOTO, PHOTO), top_k=1, target="Bengal")
    assert request.place(1) == "instances[1]"


@pytest.mark.parametrize(
    "instance",
    ["x", None, {}, {"b64": 5}, {"b64": "!"}, {"image": B64}, {"image": {}}, {"b64": B64, "x": 1}],
)
def test_a_bad_instance_leaves_the_others(instance: object) -> None:
    request = parse_json({"instances": [{"b64": B64}, instance, {"b64": "A" * 300}]})
    good, bad, large = request.photos
    assert good == PHOTO
    assert isinstance(bad, MalformedRequest | InvalidOption)
    assert isinstance(large, TooLarge)


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_kserve_v2(shape: list[int]) -> None:
    tensor = {"name": "photos", "datatype": "BYTES", "shape": shape, "data": [B64, "!"]}
    body = {
        "id": "a-7",
        "inputs": [tensor],
        "parameters": {"top_k": 2},
        "outputs": [{"name": "predictions"}],
        "model_name": "tiny",
    }
    request = parse_json(body)
    assert request.form == "kserve-v2"
    assert request.id == "a-7"
    assert request.top_k == 2
    assert request.photos[0] == PHOTO
    assert isinstance(request.photos[1], MalformedRequest)
    assert request.place(1) == "inputs[0].data[1]"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datatype": "FP32"}, ["datatype", "'FP32'", "BYTES"]),
        ({"datatype": None}, ["datatype", "BYTES"]),
        ({"shape": [2]}, ["shape", "[2]", "[1]"]),
        ({"shape": 1}, ["shape", "[1]"]),
        ({"shape": None}, ["shape", "[1]"]),
        ({"data": []}, ["data", "empty"]),
        ({"data": B64}, ["data", "list"]),
        ({"data": None}, ["data", "list"]),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(change: dict[str, Any], words: list[str]) -> None:
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [B64]} | change
    with pytest.raises(MalformedRequest) as caught:
        parse_json({"inputs": [tensor]})
    for word in words:
        assert word in caught.value.detail


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": []},
        {"inputs": {}},
        {"inputs": [1]},
        {"inputs": [{}, {}]},
        {"inputs": [], "id": 5},
        {"inputs": [], "outputs": 5},
        {"inputs": [], "outputs": [5]},
        {"instances": []},
        {"instances": {"b64": B64}},
        {"instances": [{"b64": B64}], "parameters": 3},
        {"instances": [{"b64": B64}], "parameters": None},
    ],
)
def test_a_malformed_envelope_is_refused(body: object) -> None:
    with pytest.raises(MalformedRequest):
        parse_json(body)


def test_sizes_are_limited() -> None:
    with pytest.raises(TooLarge, match="101 bytes; at most 100"):
        parse({"body": bytes(101)})
    with pytest.raises(TooLarge, match="at most 100"):
        parse_json({"image": "A" * 200})
    with pytest.raises(TooLarge, match="instances: 4 photos; at most 3"):
        parse_json({"instances": [{"b64": B64}] * 4})
    tensor = {"name": "x", "datatype": "BYTES", "shape": [4], "data": [B64] * 4}
    with pytest.raises(TooLarge, match="data: 4 photos; at most 3"):
        parse_json({"inputs": [tensor]})


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from(
    [
        *("image", "instances", "inputs", "parameters", "b64", "top_k"),
        *("class", "id", "outputs", "data", "shape", "datatype"),
    ]
)
ANY_JSON = st.recursive(
    SCALARS | st.just(B64) | st.just("BYTES"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


@given(ANY_JSON, st.booleans())
def test_any_json_is_read_or_refused(body: Any, parsed: bool) -> None:  # noqa: ANN401
    value = body if parsed else json.dumps(body).encode()
    try:
        status = 200 if parse({"body": value}, JSON_BODY).photos else 500
    except Problem as problem:
        status = problem.status
        json.dumps(problem.to_body("x"))
    assert status < 500


@given(
    st.dictionaries(
        st.sampled_from(["body", "data", "top_k", "class", "x", ""]), st.binary(max_size=20)
    ),
    st.dictionaries(
        st.sampled_from(["body", "Content-Type", "x", "top_k"]),
        st.text(max_size=9) | st.fixed_dictionaries({"content-type": st.text(max_size=9)}),
    ),
)
def test_any_fields_are_read_or_refused(fields: dict[str, Any], headers: dict[str, Any]) -> None:
    try:
        status = 200 if parse(fields, headers).photos else 500
    except Problem as problem:
        status = problem.status
    assert status < 500


def test_json_behind_a_byte_order_mark_is_json_whatever_the_content_type() -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"image": B64}).encode()
    request = parse_request({"body": body}, {"Content-Type": "text/plain"}, Limits(), 67)
    assert request.form == "json"
    assert request.photos == (PHOTO,)
