"""What comes back from the server under test."""

from __future__ import annotations

import base64
from typing import Any

import requests
from urllib3 import encode_multipart_formdata

from tests.service import Service

ALL = 67  # classes of both models
JSON = {"Content-Type": "application/json"}
PROBLEM_KEYS = {"type", "title", "status", "detail", "request_id"}


def b64(photo: bytes) -> str:
    """For a JSON body."""
    return base64.b64encode(photo).decode()


def form(*parts: tuple[str, str | tuple[str, bytes]]) -> tuple[bytes, dict[str, str]]:
    """A multipart body and its header: (name, text) is a field, (name, (file, bytes)) a file."""
    body, content_type = encode_multipart_formdata(parts)
    return body, {"Content-Type": content_type}


def ask(service: Service, model: str, photo: bytes, top_k: int = ALL) -> dict[str, Any]:
    """The good answer to one photo."""
    body, headers = form(("photo", ("photo", photo)), ("top_k", str(top_k)))
    response = service.post(f"/predictions/{model}", body, headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert len(answer["predictions"]) == top_k
    return answer


def probabilities(answer: dict[str, Any]) -> dict[str, float]:
    """{breed: probability} of one answer."""
    return {best["breed"]: best["probability"] for best in answer["predictions"]}


def problem_of(response: requests.Response, status: int, kind: str) -> str:
    """The detail of a problem, after checking everything else about it (RFC 9457)."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == PROBLEM_KEYS
    assert problem["type"] == f"urn:catbreeds:problem:{kind}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["request_id"] == response.headers["x-request-id"]
    detail = problem["detail"]
    assert isinstance(detail, str)
    assert detail
    return detail
