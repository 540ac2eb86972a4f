"""The breeds of photos, and what speaks for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from handlers.images import TAKEN_FORMATS
from handlers.problems import InvalidOption, Problem, UnsupportedImage
from web import openapi
from web.admission import OF_A_REQUEST, Ticket, client_key
from web.answers import json_response, passed_problem
from web.problems import Overloaded, RetryLater
from web.record import Record, record_of
from web.uploads import Upload, read_upload
from web.upstream import Answer, Question

router = APIRouter()
T = TypeVar("T")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@router.post("/api/classify", **openapi.CLASSIFY)
async def classify(request: Request) -> Response:
    """The breeds of one photo or of several, best first."""
    state = request.app.state
    with state.admission.ticket(_client(request)) as ticket:
        upload = await read_upload(request, state.settings, ticket)
        _refuse_option(upload, "class", "/api/explain")
        answers = await until_disconnect(request, predictions(request, upload, ticket))
    return _response(request, upload, answers)


@router.post("/api/explain", **openapi.EXPLAIN)
async def explain(request: Request) -> Response:
    """What in one photo speaks for a breed."""
    state = request.app.state
    with state.admission.ticket(_client(request)) as ticket:
        upload = await read_upload(request, state.settings, ticket)
        _refuse_option(upload, "top_k", "/api/classify")
        if upload.many:
            raise InvalidOption(f"images: {len(upload.photos)} photos; one can be explained")
        answers = await until_disconnect(request, predictions(request, upload, ticket, True))
    return _response(request, upload, answers)


async def predictions(
    request: Request, upload: Upload, ticket: Ticket, explain_it: bool = False
) -> list[Answer | Problem]:
    """TorchServe's answers to the photos of an upload, in order, each a result or a problem.

    Each photo is a request of its own there: TorchServe makes batches of them, and none can harm
    another.
    """
    state = request.app.state
    record = record_of(request.scope)
    options = dict(upload.options)
    model = state.catalogue.chosen(options.pop("model", None))
    version = options.pop("version", None)
    client = client_key(_client(request))
    canary = None if version else state.catalogue.canary_version(model, client)
    if upload.url is not None:
        ticket.take_memory(state.settings.photo_bytes)
        upload.photos.append(await _fetched(request, upload.url))
    record.model, record.photos = model, len(upload.photos)
    try:
        ticket.join_queue(len(upload.photos))
    except Overloaded:
        state.metrics.refused.inc(len(upload.photos))
        raise
    places = asyncio.Semaphore(OF_A_REQUEST)

    def passed_over(problem: str) -> None:
        record.passed_over.append(f"{canary}:{problem}")
        state.metrics.fallbacks.labels(model).inc()

    async def answer(photo: bytes | bytearray | Problem) -> Answer | Problem:
        try:
            return await asked(photo)
        finally:
            ticket.answered()

    async def asked(photo: bytes | bytearray | Problem) -> Answer | Problem:
        if isinstance(photo, Problem):
            return photo
        if _would_be_read_as_json(photo):
            return UnsupportedImage(f"photo: JSON is not taken as a photo; {TAKEN_FORMATS} are")
        async with places:
            try:
                ask = state.upstream.explain if explain_it else state.upstream.predict
                got: Answer = await ask(
                    Question(
                        photo,
                        model,
                        version,
                        options,
                        canary=canary,
                        note=record.upstream_ids.append,
                        passed_over=passed_over,
                    )
                )
            except Problem as problem:
                return problem
        return got

    if len(upload.photos) == 1:
        answers = [await answer(upload.photos[0])]
    else:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer(photo)) for photo in upload.photos]
        answers = [task.result() for task in tasks]
    _count(request, record, model, answers)
    if not upload.many and isinstance(answers[0], Problem):
        raise answers[0]
    return answers


async def until_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which ends as soon as nobody waits for it any more.

    Raises:
        ClientDisconnect: the client has gone.
    """
    task = asyncio.ensure_future(work)
    # With the body read to its end, the next that the client can say is that it has gone.
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


def tell_wait(response: Response, answers: Sequence[Answer | Problem]) -> None:
    """Say when to come again, where that is all that one of several photos needs."""
    waits_s = [each.retry_after_s for each in answers if isinstance(each, RetryLater)]
    if waits_s:
        response.headers["Retry-After"] = str(max(waits_s))


def _would_be_read_as_json(photo: bytes | bytearray) -> bool:
    """Whether the handler would take it for a request of its own, of any number of photos."""
    return photo[:64].removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] == b"{"


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _refuse_option(upload: Upload, name: str, path: str) -> None:
    if name in upload.options:
        raise InvalidOption(f"{name}: is an option of {path}")


async def _fetched(request: Request, url: str) -> bytearray:
    fetcher = request.app.state.fetcher
    if fetcher is None:
        raise InvalidOption("url: is switched off here; send the photo itself")
    return bytearray(await fetcher.fetch(url))


def _count(request: Request, record: Record, model: str, answers: list[Answer | Problem]) -> None:
    """Into log and metrics. The id of a single photo at TorchServe becomes the request's."""
    metrics = request.app.state.metrics
    for each in answers:
        if isinstance(each, Answer) and not each.is_problem:
            version = _version(each)
            record.versions |= {version} - {""}
            metrics.photos.labels(model, version).inc()
            request.app.state.monitor.answered(model, version)
    if len(answers) > 1:
        for each in answers:
            slug = _slug(each)
            if slug:
                metrics.problems.labels(slug).inc()
    else:
        if record.upstream_ids:
            record.request_id = record.upstream_ids[-1]
        record.problem = _slug(answers[0])


def _version(answer: Answer) -> str:
    """The one that answered. A form of answer that does not tell leaves what was asked for."""
    told = json.loads(answer.body)
    version = told.get("version") if isinstance(told, dict) else None
    return version if isinstance(version, str) else answer.asked or ""


def _slug(answer: Answer | Problem) -> str | None:
    if isinstance(answer, Problem):
        return answer.slug
    if answer.is_problem:
        return str(json.loads(answer.body)["type"]).rpartition(":")[2]
    return None


def _response(request: Request, upload: Upload, answers: list[Answer | Problem]) -> Response:
    if not upload.many:
        (only,) = answers
        assert isinstance(only, Answer)  # noqa: S101 - a Problem was raised
        if only.is_problem:
            return passed_problem(only.body, only.status)
        return json_response(only.body)
    request_id = record_of(request.scope).request_id
    results = [
        each.to_body(request_id) if isinstance(each, Problem) else json.loads(each.body)
        for each in answers
    ]
    statuses = [each.status for each in answers]
    response = json_response({"results": results}, 200 if 200 in statuses else statuses[0])
    tell_wait(response, answers)
    return response
