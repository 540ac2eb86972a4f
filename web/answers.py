"""How an answer of the gateway is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from handlers.problems import PROBLEM_CONTENT_TYPE, Problem
from web.problems import RetryLater
from web.record import Record

_NOT_KEPT = {"Cache-Control": "no-store"}


def json_response(body: bytes | dict[str, Any], status: int = 200) -> Response:
    """JSON that no cache keeps; bytes go out as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(content, status, _NOT_KEPT, "application/json")


def problem_response(
    problem: Problem, record: Record, more: Mapping[str, str] | None = None
) -> Response:
    """A problem as RFC 9457 has it, under the request's id; `more` are members of an extension."""
    record.problem = problem.slug
    headers = dict(_NOT_KEPT)
    if isinstance(problem, RetryLater):
        headers["Retry-After"] = str(problem.retry_after_s)
    body = json.dumps({**problem.to_body(record.request_id), **(more or {})}).encode()
    return Response(body, problem.status, headers, PROBLEM_CONTENT_TYPE)


def passed_problem(body: bytes, status: int) -> Response:
    """A problem as TorchServe's handler wrote it."""
    return Response(body, status, _NOT_KEPT, PROBLEM_CONTENT_TYPE)
