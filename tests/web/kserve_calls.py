"""KServe's bodies to a gateway, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import requests

from tests.answers import JSON, PROBLEM_KEYS, b64
from tests.service import DEMO
from tests.web.gateway_process import GatewayProcess

V1 = f"/v1/models/{DEMO}:predict"
V2 = f"/v2/models/{DEMO}/infer"
EXPLAIN = f"/v1/models/{DEMO}:explain"
BAD = b"no photo"


def v1(*photos: bytes, **more: object) -> dict[str, Any]:
    return {"instances": [{"b64": b64(photo)} for photo in photos], **more}


def v2(*photos: bytes, **more: object) -> dict[str, Any]:
    data = [b64(photo) for photo in photos]
    tensor = {"name": "photo", "datatype": "BYTES", "shape": [len(data)], "data": data}
    return {"inputs": [tensor], **more}


def post(
    gateway: GatewayProcess, path: str, body: object, headers: dict[str, str] = JSON
) -> requests.Response:
    content = body if isinstance(body, bytes) else json.dumps(body)
    return requests.post(gateway.url + path, content, headers=headers, timeout=60)


def get(gateway: GatewayProcess, path: str) -> requests.Response:
    return requests.get(gateway.url + path, timeout=10)


def refusal_of(response: requests.Response, status: int, kind: str) -> str:
    """The detail of a problem (see `tests.answers.problem_of`), which is its `error` as well."""
    problem = response.json()
    assert response.status_code == problem["status"] == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert set(problem) == PROBLEM_KEYS | {"error"}
    assert problem["type"] == f"urn:catbreeds:problem:{kind}"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["error"] == problem["detail"]
    detail: str = problem["detail"]
    assert detail
    return detail
