"""The page, and its form for browsers without JavaScript."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader
from starlette.responses import HTMLResponse, Response

from handlers.problems import Problem
from web.classify import predictions, until_disconnect
from web.models import described
from web.problems import RetryLater
from web.record import record_of
from web.uploads import read_upload

router = APIRouter()

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"), autoescape=True, trim_blocks=True
)
_EXAMPLES = json.loads((STATIC / "examples" / "examples.json").read_text())


@router.api_route("/", methods=["GET", "POST"], include_in_schema=False)
async def page(request: Request) -> Response:
    """The page; with the breeds of the photo that its form has sent, as file `file`."""
    return await (_classified(request) if request.method == "POST" else _rendered(request))


async def _classified(request: Request) -> Response:
    state = request.app.state
    record = record_of(request.scope)
    try:
        address = request.client.host if request.client else ""
        with state.admission.ticket(address) as ticket:
            upload = await read_upload(request, state.settings, ticket)
            answers = await until_disconnect(request, predictions(request, upload, ticket))
    except Problem as problem:
        record.problem = problem.slug
        body = problem.to_body(record.request_id)
        page = await _rendered(request, problem.status, problem=body)
        if isinstance(problem, RetryLater):
            page.headers["Retry-After"] = str(problem.retry_after_s)
        return page
    (answer,) = answers[:1]
    if isinstance(answer, Problem) or answer.is_problem:
        body = answer.to_body(None) if isinstance(answer, Problem) else json.loads(answer.body)
        return await _rendered(request, answer.status, problem=body)
    return await _rendered(request, result=json.loads(answer.body))


async def _rendered(
    request: Request,
    status: int = 200,
    result: dict[str, Any] | None = None,
    problem: dict[str, Any] | None = None,
) -> Response:
    state = request.app.state
    try:
        models: dict[str, Any] | None = described(state.catalogue, state.settings)
    except Problem:
        models = None  # the page comes up without TorchServe, and says so
    html = _templates.get_template("page.html").render(
        models=models,
        result=result,
        problem=problem,
        examples=_EXAMPLES,
        limits={"bytes": state.settings.photo_bytes, "photos": state.settings.photos},
    )
    return HTMLResponse(html, status, {"Cache-Control": "no-store" if result else "no-cache"})
