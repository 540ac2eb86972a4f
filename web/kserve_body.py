"""The bodies of KServe's protocols -> photos and options.

v1  {"instances": [{"b64": "<base64>"} | {"image": {"b64": ...}}, ...], "parameters": {...}}
v2  {"inputs": [{"name": ..., "datatype": "BYTES", "shape": [n], "data": ["<base64>", ...]}],
     "id": ..., "parameters": {...}, "outputs": [{"name": "predictions"}]}
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

from fastapi import Request

from handlers.config import Limits
from handlers.problems import InvalidOption, MalformedRequest, shorten
from handlers.request_json import load_json
from handlers.requests import PhotoRequest, parse_request
from web.admission import Ticket
from web.uploads import MOST_OPTION, Upload, add_options, read_json

KServeForm = Literal["kserve-v1", "kserve-v2"]

_PHOTOS: dict[KServeForm, str] = {"kserve-v1": "instances", "kserve-v2": "inputs"}
# https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
_BINARY_HEADER = "inference-header-content-length"


async def read_photos(request: Request, form: KServeForm, ticket: Ticket) -> PhotoRequest:
    """Read a request to the end of its body, as JSON whatever its content type is.

    Raises:
        Problem: as `web.uploads.read_upload`.
    """
    for name in request.query_params:
        raise InvalidOption(f"unknown query parameter {shorten(name)}; none is allowed here")
    if _BINARY_HEADER in request.headers:
        raise InvalidOption(
            f"{_BINARY_HEADER}: binary tensors are not taken; photos as base64 in JSON are"
        )
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise InvalidOption(f"content-encoding: {shorten(encoding)} is not taken; a plain body is")
    settings = request.app.state.settings
    await ticket.count(1)
    body = await read_json(request, settings, ticket)
    limits = Limits(bytes=settings.photo_bytes, photos=settings.photos)
    # In a thread: decoding megabytes would hold up everybody else.
    asked = await asyncio.to_thread(_parse, body, form, limits)
    if len(asked.photos) > 1:
        await ticket.count(len(asked.photos) - 1)
    ticket.take_places(len(asked.photos))
    return asked


def to_upload(asked: PhotoRequest, model: str, version: str | None, explain_it: bool) -> Upload:
    """The same as `/api/classify` or `/api/explain` would have it.

    Raises:
        InvalidOption: an option of the other one or too long, or several photos to explain.
    """
    options = {"model": model, "version": version, "top_k": asked.top_k, "class": asked.target}
    strange, verb = ("top_k", ":predict") if explain_it else ("class", ":explain")
    if options[strange] is not None:
        raise InvalidOption(f"parameters: {strange} is not allowed here; only {verb} takes it")
    if explain_it and len(asked.photos) > 1:
        raise InvalidOption(f"instances: {len(asked.photos)} photos; one can be explained")
    upload = Upload(photos=list(asked.photos), many=True)
    given = [(name, str(value)) for name, value in options.items() if value is not None]
    add_options(upload, given)
    return upload


def _parse(body: bytearray, form: KServeForm, limits: Limits) -> PhotoRequest:
    content = load_json(body)
    if not isinstance(content, dict) or _PHOTOS[form] not in content:
        raise MalformedRequest(
            f"body: {shorten(content)} is not allowed; an object with {_PHOTOS[form]!r} is"
        )
    for place, parameters, name in _binary_switches(content):
        # False is what all answers are.
        if isinstance(parameters, dict) and parameters.pop(name, False) is not False:
            raise InvalidOption(
                f"{place}.{name}: binary tensors are not given; ask for the output 'predictions' "
                "with 'binary_data': false"
            )
    # How many classes there are is known to the version that will be asked.
    asked = parse_request({"body": content}, {}, limits, most_top_k=None)
    if asked.id is not None and len(asked.id) > MOST_OPTION:
        # It is sent back, and an answer lies in memory for as long as its client takes to read it.
        raise InvalidOption(f"id: {len(asked.id)} characters; at most {MOST_OPTION} are allowed")
    return asked


def _binary_switches(body: dict[str, Any]) -> Iterator[tuple[str, object, str]]:
    """Where a client can ask for a binary answer, as NVIDIA's does unless it is told not to."""
    yield "parameters", body.get("parameters"), "binary_data_output"
    outputs = body.get("outputs")
    for number, output in enumerate(outputs if isinstance(outputs, list) else ()):
        if isinstance(output, dict):
            yield f"outputs[{number}].parameters", output.get("parameters"), "binary_data"
