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

# --- KServe's protocols ---

_NAME = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,100}$"}
_PATH: dict[str, tuple[str, dict[str, Any]]] = {
    "model": ("A model's name.", {**_NAME, "example": "cat-breeds"}),
    "version": ("One of its versions.", {**_NAME, "example": "0.1"}),
}
_BASE64 = {"type": "string", "description": "base64, or a data: URL"}


def _protocol_operation(
    good: type,
    *problems: int,
    path: tuple[str, ...] = (),
    body: dict[str, Any] | None = None,
    not_ready: bool = False,
) -> dict[str, Any]:
    problem = {"schema": schemas.ProtocolProblem.model_json_schema()}
    responses = _responses(good)
    for status in problems:
        described = {"description": _PROBLEMS[status], "content": {PROBLEM_CONTENT_TYPE: problem}}
        responses[status] = described
    if not_ready:
        responses[503] = {"model": good, "description": "Not ready."}
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH[name][0],
            "schema": _PATH[name][1],
        }
        for name in path
    ]
    more: dict[str, Any] = {"parameters": parameters} if parameters else {}
    if body is not None:
        more["requestBody"] = {"required": True, "content": {"application/json": body}}
    return {"tags": ["KServe"], "responses": responses, "openapi_extra": more}


def _protocol_body(properties: dict[str, Any], option: str, **examples: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """The first property is the one that is required."""
    parameters = {"type": "object", "properties": {option: _OPTIONS[option][1]}}
    return {
        "schema": {
            "type": "object",
            "properties": {**properties, "parameters": parameters},
            "required": [next(iter(properties))],
        },
        "examples": {name.replace("_", " "): {"value": each} for name, each in examples.items()},
    }


def _v1_body(option: str, value: object) -> dict[str, Any]:
    encoded = {"type": "object", "properties": {"b64": _BASE64}}
    instance = {"type": "object", "properties": {"b64": _BASE64, "image": encoded}}
    return _protocol_body(
        {"instances": {"type": "array", "items": instance, "minItems": 1}},
        option,
        one_photo={"instances": [{"b64": _PIXEL}]},
        with_an_option={
            "instances": [{"image": {"b64": _PIXEL}}],
            "parameters": {option: value},
        },
    )


def _v2_body() -> dict[str, Any]:
    tensor = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "datatype": {"const": "BYTES"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "array", "items": _BASE64, "minItems": 1},
        },
        "required": ["name", "datatype", "shape", "data"],
    }
    output = {"type": "object", "properties": {"name": {"const": "predictions"}}}
    properties = {
        "inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1},
        "id": {"type": "string", "maxLength": 200},
        "outputs": {"type": "array", "items": output},
    }
    one = {"name": "photo", "datatype": "BYTES", "shape": [1], "data": [_PIXEL]}
    return _protocol_body(
        properties,
        "top_k",
        one_photo={"inputs": [one]},
        two_photos={"inputs": [{**one, "shape": [2], "data": [_PIXEL, _PIXEL]}]},
        with_an_option={"id": "seven", "inputs": [one], "parameters": {"top_k": 3}},
    )


_OF_A_MODEL = ("model",)
_OF_A_VERSION = ("model", "version")

V1_MODELS = _protocol_operation(schemas.V1Models)
V1_READY = _protocol_operation(schemas.ModelReady, 404, path=_OF_A_MODEL, not_ready=True)
V1_PREDICT = _protocol_operation(
    schemas.V1Predictions, *_PROBLEMS, path=_OF_A_MODEL, body=_v1_body("top_k", 3)
)
V1_EXPLAIN = _protocol_operation(
    schemas.V1Explanations, *_PROBLEMS, path=_OF_A_MODEL, body=_v1_body("class", "Siamese")
)
V2_SERVER = _protocol_operation(schemas.V2Server)
V2_LIVE = _protocol_operation(schemas.V2Live)
V2_READY = _protocol_operation(schemas.V2Ready, not_ready=True)
V2_MODEL = _protocol_operation(schemas.V2Model, 404, path=_OF_A_MODEL)
V2_MODEL_VERSION = _protocol_operation(schemas.V2Model, 404, path=_OF_A_VERSION)
V2_MODEL_READY = _protocol_operation(schemas.ModelReady, 404, path=_OF_A_MODEL, not_ready=True)
V2_MODEL_VERSION_READY = _protocol_operation(
    schemas.ModelReady, 404, path=_OF_A_VERSION, not_ready=True
)
V2_INFER = _protocol_operation(schemas.V2Answer, *_PROBLEMS, path=_OF_A_MODEL, body=_v2_body())
V2_INFER_VERSION = _protocol_operation(
    schemas.V2Answer, *_PROBLEMS, path=_OF_A_VERSION, body=_v2_body()
)
