"""The gateway as an ASGI application.

observe -> admission -> uploads -> classify -> upstream -> TorchServe
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from handlers.problems import InternalError, MalformedRequest, Problem
from serving.state import HEADER_FILE, folder_of
from web import classify, docs, health, kserve, models, page
from web.admission import Admission
from web.answers import problem_response
from web.fetch import PhotoFetcher
from web.files import Files
from web.models import Catalogue
from web.observe import Metrics, Observe
from web.pace import Pace
from web.problems import MethodNotAllowed, NotFound
from web.record import record_of
from web.settings import Settings
from web.upstream import Upstream


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings; it connects to TorchServe when it is started."""
    app = FastAPI(
        title="catbreeds",
        summary="Send a photo, get the breeds.",
        lifespan=_running,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        # They would lead to whatever host the client has named.
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.pace = Pace()
    app.state.admission = Admission(settings, app.state.pace)
    app.state.metrics = Metrics()
    for part in (page, classify, models, health, kserve, docs):
        app.include_router(part.router)
    app.mount("/static", Files(directory=page.STATIC), name="static")
    app.mount("/docs/static", Files(directory=docs.STATIC), name="docs-static")
    # Answers to photos are small, and many.
    plain = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/json", "application/problem+json")
    app.add_middleware(GZipMiddleware, minimum_size=2048, exclude_content_types=plain)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            expose_headers=["x-request-id", "Retry-After"],
        )
    app.add_middleware(Observe, metrics=app.state.metrics)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    docs.describe(app)
    return app


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    state, settings = app.state, app.state.settings
    state.server_folder = server_folder(settings)
    state.upstream = Upstream(
        settings.torchserve,
        token_file(settings),
        settings.answer_s,
        settings.torchserve_photos,
        state.pace,
    )
    state.catalogue = Catalogue(settings, state.upstream)
    state.monitor = health.Monitor(settings, state.catalogue, state.upstream)
    state.fetcher = (
        PhotoFetcher(settings.photo_bytes, settings.fetch_s, settings.fetch_redirects)
        if settings.fetch
        else None
    )
    watching = [
        asyncio.create_task(state.catalogue.watch()),
        asyncio.create_task(state.monitor.watch()),
    ]
    try:
        yield
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        if state.fetcher:
            await state.fetcher.close()
        await state.upstream.close()


def server_folder(settings: Settings) -> Path:
    """Where TorchServe's server tells what it serves: as set, or that of a local server."""
    return settings.server_folder or folder_of(settings.torchserve)


def token_file(settings: Settings) -> Path:
    """Where the inference token is."""
    return settings.token_file or server_folder(settings) / HEADER_FILE


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - registered for it
    return problem_response(error, record_of(request.scope))


async def _http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own errors, in the one shape that all errors have."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    path = request.url.path[:100]
    problem: Problem = InternalError(error.detail)
    if error.status_code == 404:
        problem = NotFound(f"path: {path!r} is not there; GET / and /docs are")
    elif error.status_code == 405:
        problem = MethodNotAllowed(f"method: {request.method} is not taken for {path!r}")
    elif error.status_code < 500:
        problem = MalformedRequest(error.detail)
    response = problem_response(problem, record_of(request.scope))
    response.headers.update(error.headers or {})
    return response


async def _client_gone(request: Request, _error: Exception) -> Response:
    record_of(request.scope).client_gone = True
    return Response(status_code=499)
