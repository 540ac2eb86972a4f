"""One TorchServe batch item -> which photos are meant, and with which options.

TorchServe hands over a mapping from field name to value, and for each field its content type.
A raw body is the field `body`; multipart and gRPC keep their own names. The forms:

    image       the file itself, as the whole body or as the first file part or field
    json        {"image": "<base64 or data: URL>", "top_k": 3, "class": "Siamese"}
    kserve-v1   {"instances": [{"b64": "..."} | {"image": {"b64": "..."}}, ...],
                 "parameters": {...}}
    kserve-v2   {"inputs": [{"name": "...", "datatype": "BYTES", "shape": [n],
                             "data": ["<base64>", ...]}], "id": "...", "parameters": {...}}

A key that is not named here is refused rather than ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from handlers.config import Limits
from handlers.images import check_bytes
from handlers.problems import InvalidOption, MalformedRequest, Problem, TooLarge, shorten
from handlers.request_json import decode_base64, load_json

Form = Literal["image", "json", "kserve-v1", "kserve-v2"]
OPTIONS = ("top_k", "class")

# Windows tools put it before their JSON.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FORM_URLENCODED = "application/x-www-form-urlencoded"
_FORMS = (
    'an image file as body or multipart file part, {"image": "<base64>"}, '
    '{"instances": [...]} or {"inputs": [...]}'
)
_INPUT_KEYS = ("name", "datatype", "shape", "data", "parameters")


@dataclass(frozen=True)
class PhotoRequest:
    """What one request asks for.

    Attributes:
        form: decides the envelope of the answer.
        photos: encoded image files; a Problem where one photo of several could not be read.
        top_k: predictions wanted; None: the model's default.
        target: the class to explain, by name or id; None: the top one.
        id: KServe v2's, echoed in the answer.
    """

    form: Form
    photos: tuple[bytes | Problem, ...]
    top_k: int | None = None
    target: str | int | None = None
    id: str | None = None

    def place(self, number: int) -> str:
        """Where photo `number` stands in the request, for a problem's detail."""
        return f"inputs[0].data[{number}]" if self.form == "kserve-v2" else f"instances[{number}]"

    @property
    def in_envelope(self) -> bool:
        """KServe's forms can hold several photos, each with its own result or problem."""
        return self.form in ("kserve-v1", "kserve-v2")


def parse_request(
    fields: Mapping[str, Any], headers: Mapping[str, Any], limits: Limits, most_top_k: int | None
) -> PhotoRequest:
    """Read one batch item.

    Args:
        fields: name -> bytes, str, or JSON that TorchServe has parsed already.
        headers: the request's headers, and for each field {"content-type": ...}.
        limits: bytes of a photo and photos of a request are looked at.
        most_top_k: the largest `top_k` that the model takes; None: that is looked at later.

    Raises:
        MalformedRequest: the body is in none of the forms.
        TooLarge: a single photo of too many bytes, or too many photos.
        InvalidOption: an unknown key, or an option out of its range.
    """
    if _header(headers, "content-type").startswith(_FORM_URLENCODED):
        # TorchServe has cut the body up at every & and =: there is no photo left to find.
        raise MalformedRequest(
            f"content-type: {_FORM_URLENCODED} is not taken; with curl use -T FILE, "
            "-F image=@FILE, or -H 'Content-Type: application/json' with -d"
        )
    name = _photo_field(fields, headers)
    value = fields[name]
    options: dict[str, Any] = {key: _text(fields[key]) for key in OPTIONS if key in fields}
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes | bytearray | memoryview):
        value = bytes(value)
        content_type = _field_type(headers, name)
        says_json = content_type.startswith("application/") and "json" in content_type
        start = value[:64].removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
        if not says_json and start != b"{":
            check_bytes(len(value), limits)
            return PhotoRequest("image", (value,), **_read_options(options, most_top_k, text=True))
        value = load_json(value)
    return _from_json(value, options, limits, most_top_k)


def _photo_field(fields: Mapping[str, Any], headers: Mapping[str, Any]) -> str:
    """The field that holds the photo: the first file part, or else the only unknown field."""
    others = [name for name in fields if name not in OPTIONS]
    if not others:
        raise MalformedRequest(f"body: no photo in it; taken are {_FORMS}")
    files = [name for name in others if _field_type(headers, name)]
    usual = [name for name in ("data", "body") if name in others]
    chosen = (files or usual or others)[0]
    for name in others:
        if name != chosen and name not in files:
            raise InvalidOption(
                f"unknown field {shorten(name)}; allowed beside the photo: {list(OPTIONS)}"
            )
    return chosen


def _from_json(
    body: object, fields: dict[str, Any], limits: Limits, most_top_k: int | None
) -> PhotoRequest:
    if not isinstance(body, dict):
        raise MalformedRequest(f"body: JSON, but not an object; taken are {_FORMS}")
    if "instances" in body:
        _only_keys("body", body, ("instances", "parameters"))
        options = fields | _mapping("parameters", body.get("parameters", {}))
        photos = [_instance(entry, limits) for entry in _photo_list("instances", body, limits)]
        return PhotoRequest("kserve-v1", tuple(photos), **_read_options(options, most_top_k))
    if "inputs" in body:
        return _from_kserve_v2(body, fields, limits, most_top_k)
    if "image" in body:
        _only_keys("body", body, ("image", *OPTIONS))
        options = fields | {key: body[key] for key in OPTIONS if key in body}
        photo = bytes(decode_base64("image", body["image"], limits))
        return PhotoRequest("json", (photo,), **_read_options(options, most_top_k))
    raise MalformedRequest(
        f"body: keys {shorten(', '.join(body))}; none of image, instances, inputs"
    )


def _from_kserve_v2(
    body: dict[str, Any], fields: dict[str, Any], limits: Limits, most_top_k: int | None
) -> PhotoRequest:
    """https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol"""
    # TorchServe's own OpenInference gRPC server adds the model_name to what it was sent.
    _only_keys("body", body, ("inputs", "id", "parameters", "outputs", "model_name"))
    request_id = body.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise MalformedRequest(f"id: {shorten(request_id)} is not allowed; a string is")
    for output in _list("outputs", body.get("outputs", [])):
        if _mapping("outputs", output).get("name") != "predictions":
            raise InvalidOption(f"outputs: {shorten(output)}; the only output is predictions")
    inputs = _list("inputs", body["inputs"])
    if len(inputs) != 1:
        raise MalformedRequest(f"inputs: {len(inputs)} of them; exactly one is allowed")
    tensor = _mapping("inputs[0]", inputs[0])
    _only_keys("inputs[0]", tensor, _INPUT_KEYS)
    if tensor.get("datatype") != "BYTES":
        raise MalformedRequest(
            f"inputs[0].datatype: {shorten(tensor.get('datatype'))} is not allowed; 'BYTES' is"
        )
    data = _photo_list("data", tensor, limits)
    if tensor.get("shape") not in ([len(data)], [len(data), 1]):
        raise MalformedRequest(
            f"inputs[0].shape: {tensor.get('shape')!s:.60} is not allowed; [{len(data)}] is"
        )
    photos = [_photo_or_problem("b64", entry, limits) for entry in data]
    options = fields | _mapping("parameters", body.get("parameters", {}))
    return PhotoRequest(
        "kserve-v2", tuple(photos), id=request_id, **_read_options(options, most_top_k)
    )


def _instance(entry: object, limits: Limits) -> bytes | Problem:
    """One of KServe v1's instances: {"b64": ...} or {"image": {"b64": ...}}."""
    try:
        holder = _mapping("instance", entry)
        if "image" in holder:
            _only_keys("instance", holder, ("image",))
            holder = _mapping("image", holder["image"])
        _only_keys("instance", holder, ("b64",))
        if "b64" not in holder:
            raise MalformedRequest("b64: missing; the photo in base64 is needed")
    except Problem as problem:
        return problem
    return _photo_or_problem("b64", holder["b64"], limits)


def _photo_or_problem(key: str, text: object, limits: Limits) -> bytes | Problem:
    try:
        return bytes(decode_base64(key, text, limits))
    except Problem as problem:
        return problem


def _read_options(
    options: Mapping[str, Any], most_top_k: int | None, *, text: bool = False
) -> dict[str, Any]:
    _only_keys("parameters", options, OPTIONS)
    read: dict[str, Any] = {}
    if (top_k := options.get("top_k")) is not None:
        # Fields of multipart and gRPC can only be text.
        if isinstance(top_k, str) and re.fullmatch(r"[0-9]{1,9}", top_k):
            top_k = int(top_k)
        is_number = isinstance(top_k, int) and not isinstance(top_k, bool)
        if not is_number or top_k < 1 or (most_top_k is not None and top_k > most_top_k):
            allowed = "of at least 1" if most_top_k is None else f"from 1 to {most_top_k}"
            raise InvalidOption(f"top_k: {shorten(top_k)} is not allowed; an integer {allowed} is")
        read["top_k"] = top_k
    if (target := options.get("class")) is not None:
        if not isinstance(target, str | int) or isinstance(target, bool):
            raise InvalidOption(
                f"class: {shorten(target)} is not allowed; the name or id of a class is"
            )
        # A field has no types: a number there is an id, unless a class has that very name.
        read["target"] = target
    return read


def _photo_list(key: str, holder: Mapping[str, Any], limits: Limits) -> list[Any]:
    entries = _list(key, holder.get(key))
    if not entries:
        raise MalformedRequest(f"{key}: empty; at least one photo is needed")
    if len(entries) > limits.photos:
        raise TooLarge(f"{key}: {len(entries)} photos; at most {limits.photos} are taken")
    return entries


def _list(key: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedRequest(f"{key}: {shorten(value)} is not allowed; a list is")
    return value


def _mapping(key: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedRequest(f"{key}: {shorten(value)} is not allowed; an object is")
    return value


def _only_keys(place: str, holder: Mapping[str, Any], allowed: Sequence[str]) -> None:
    for key in holder:
        if key not in allowed:
            raise InvalidOption(f"{place}: unknown key {shorten(key)}; allowed: {list(allowed)}")


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise MalformedRequest("an option field is not UTF-8 text") from None
    # With decode_input_request=true a field of content type application/json is parsed already.
    return str(value).strip()


def _field_type(headers: Mapping[str, Any], name: str) -> str:
    """Content type of one field, empty for a text field."""
    entry = headers.get(name)
    content_type = entry.get("content-type") if isinstance(entry, Mapping) else None
    return content_type.lower() if isinstance(content_type, str) else ""


def _header(headers: Mapping[str, Any], name: str) -> str:
    for key, value in headers.items():
        if key.lower() == name and isinstance(value, str):
            return value.lower()
    return ""
