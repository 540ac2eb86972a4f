"""The description of each operation: its bodies with examples, its answers and problems."""

from __future__ import annotations

from typing import Any

from handlers.problems import PROBLEM_CONTENT_TYPE
from web import schemas

# A 1 x 1 pixel PNG, so that the examples can be sent as they stand.
_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mM4UaEBAAN0AWn1BwN7AAAAAElFTkSuQmCC"
)
_PROBLEMS = {
    400: "The body or the photo cannot be read.",
    404: "No such version.",
    408: "The upload took too long.",
    413: "Too many bytes, pixels or photos.",
    415: "Not an image format that is taken.",
    422: "An option is not valid, or the photo's address was refused or failed.",
    429: "Too many photos from this client; Retry-After says when to come again.",
    500: "A bug; the log has the cause under the request id.",
    502: "The model server gave no usable answer.",
    503: "Too much to do, or no model server; Retry-After says when to come again.",
    504: "The model server took too long.",
}
_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "model": ("A model's name; else the first.", {"type": "string", "example": "cat-breeds"}),
    "version": ("A version; else the model's default.", {"type": "string"}),
    "top_k": ("How many breeds.", {"type": "integer", "minimum": 1, "example": 3}),
    "class": ("The breed to explain, by name or id; else the likeliest.", {"type": "string"}),
}


def _responses(good: type, *problems: int) -> dict[int | str, dict[str, Any]]:
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        200: {"model": good, "description": "Done."},
        **{
            status: {"description": _PROBLEMS[status], "content": {PROBLEM_CONTENT_TYPE: problem}}
            for status in problems
        },
    }


def _photo_operation(options: tuple[str, ...], several: bool) -> dict[str, Any]:
    schemas_of = {name: _OPTIONS[name][1] for name in options}
    base64 = {"type": "string", "description": "base64, or a data: URL"}
    file = {"type": "string", "format": "binary"}
    one_of: dict[str, Any] = {"image": base64, "url": {"type": "string", "format": "uri"}}
    examples: dict[str, Any] = {
        "base64": {"value": {"image": _PIXEL}},
        "data URL": {"value": {"image": f"data:image/png;base64,{_PIXEL}"}},
        "with options": {"value": {"image": _PIXEL, options[-1]: 3 if several else "Siamese"}},
        "address": {
            "summary": "only where the service has it switched on",
            "value": {"url": "https://example.org/cat.jpg"},
        },
    }
    form: dict[str, Any] = {"image": file}
    if several:
        one_of["images"] = {"type": "array", "items": base64, "minItems": 1}
        form["images"] = {"type": "array", "items": file}
        examples["several"] = {"value": {"images": [_PIXEL, _PIXEL]}}
    body = {
        "required": True,
        "content": {
            "image/*": {"schema": file},
            "application/octet-stream": {"schema": file},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": form | schemas_of},
                "examples": {"one photo": {"summary": "image=@cat.jpg", "value": {}}},
            },
            "application/json": {
                "schema": {"type": "object", "properties": one_of | schemas_of},
                "examples": examples,
            },
        },
    }
    parameters = [
        {"name": name, "in": "query", "description": _OPTIONS[name][0], "schema": schema}
        for name, schema in schemas_of.items()
    ]
    return {"requestBody": body, "parameters": parameters}


def _with_lists(responses: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """Where no photo of several is good, the list comes with the first problem's status."""
    for status, response in responses.items():
        if status != 200:
            schema = {"$ref": "#/components/schemas/Classifications"}
            response["content"]["application/json"] = {"schema": schema}
    return responses


CLASSIFY: dict[str, Any] = {
    "tags": ["photos"],
    "responses": _with_lists(
        _responses(schemas.Classification | schemas.Classifications, *_PROBLEMS)  # type: ignore[arg-type]
    ),
    "openapi_extra": _photo_operation(("model", "version", "top_k"), several=True),
}
EXPLAIN: dict[str, Any] = {
    "tags": ["photos"],
    "responses": _responses(schemas.Explanation, *_PROBLEMS),
    "openapi_extra": _photo_operation(("model", "version", "class"), several=False),
}
MODELS: dict[str, Any] = {
    "tags": ["service"],
    "responses": _responses(schemas.Models, 502, 503, 504),
}
ALIVE: dict[str, Any] = {"tags": ["service"], "responses": _responses(schemas.Alive)}
READY: dict[str, Any] = {
    "tags": ["service"],
    "responses": {
        **_responses(schemas.Readiness),
        503: {"model": schemas.Readiness, "description": "Not ready."},
    },
}
METRICS: dict[str, Any] = {
    "tags": ["service"],
    "responses": {
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}},
        **{404: _responses(schemas.Alive, 404)[404]},
    },
}
