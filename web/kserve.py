"""KServe's inference protocols, v1 and v2, so that a gateway can be what an InferenceService runs.

The handler's own code reads the body, and puts the answers into the protocol's envelope. In between
each photo goes the way of `/api/classify`, with all its limits, canaries and counters.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from handlers.envelopes import envelope
from handlers.problems import (
    InternalError,
    MalformedRequest,
    Problem,
    TooLarge,
    UndecodableImage,
    UnsupportedImage,
    shorten,
)
from handlers.requests import PhotoRequest
from serving.inference import GATEWAY
from web import openapi
from web.answers import json_response, passed_problem, problem_response
from web.classify import predictions, tell_wait, until_disconnect
from web.kserve_body import KServeForm, read_photos, to_upload
from web.models import Catalogue
from web.problems import NotFound
from web.record import record_of
from web.upstream import Answer

# Whatever its name, the one input is a list of photos, and the one output a list of answers.
_TENSOR = {"datatype": "BYTES", "shape": [-1]}
_PLATFORM = "torchserve_mar"
# Of one photo; what else TorchServe or the gateway finds wrong would be so with any photo.
_OF_A_PHOTO = {
    f"urn:catbreeds:problem:{each.slug}"
    for each in (MalformedRequest, UndecodableImage, TooLarge, UnsupportedImage, InternalError)
}
# Both protocols' clients look there for what is wrong; v2 demands it.
_ERROR = "error"


class _Route(APIRoute):
    """Gives every problem the member `error`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def with_error(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                more = {_ERROR: problem.detail}
                return problem_response(problem, record_of(request.scope), more)

        return with_error


router = APIRouter(route_class=_Route)


# Before the path without a verb, so that a wrong method is told the right one.
@router.post("/v1/models/{model}:predict", **openapi.V1_PREDICT)
async def v1_predict(request: Request) -> Response:
    """The breeds of each instance, best first."""
    return await _answered(request, "kserve-v1")


@router.post("/v1/models/{model}:explain", **openapi.V1_EXPLAIN)
async def v1_explain(request: Request) -> Response:
    """What in the one instance speaks for a breed."""
    return await _answered(request, "kserve-v1", explain_it=True)


@router.get("/v1/models", **openapi.V1_MODELS)
async def v1_models(request: Request) -> Response:
    """The names of the models."""
    return json_response({"models": list(request.app.state.catalogue.versions())})


@router.get("/v1/models/{model}", **openapi.V1_READY)
async def v1_ready(request: Request) -> Response:
    """Whether a model is ready."""
    if request.path_params["model"].endswith((":predict", ":explain")):
        raise HTTPException(405, headers={"Allow": "POST"})
    return _ready(request)


@router.get("/v2", **openapi.V2_SERVER)
async def v2_server(request: Request) -> Response:
    """The server's metadata."""
    return json_response({"name": GATEWAY, "version": request.app.version, "extensions": []})


@router.get("/v2/health/live", **openapi.V2_LIVE)
async def v2_live() -> Response:
    """Whether the gateway itself runs."""
    return json_response({"live": True})


@router.get("/v2/health/ready", **openapi.V2_READY)
async def v2_ready(request: Request) -> Response:
    """Whether all models are ready."""
    is_ready, _ = request.app.state.monitor.report()
    # The protocol's text has `live` here, KServe's own servers have `ready`.
    return json_response({"live": True, "ready": is_ready}, 200 if is_ready else 503)


@router.get("/v2/models/{model}", **openapi.V2_MODEL)
@router.get("/v2/models/{model}/versions/{version}", **openapi.V2_MODEL_VERSION)
async def v2_model(request: Request) -> Response:
    """A model's metadata."""
    model = _listed(request)
    described = {
        "name": model,
        "versions": _versions(request.app.state.catalogue, model),
        "platform": _PLATFORM,
        "inputs": [{"name": "photo", **_TENSOR}],
        "outputs": [{"name": "predictions", **_TENSOR}],
    }
    return json_response(described)


@router.get("/v2/models/{model}/ready", **openapi.V2_MODEL_READY)
@router.get("/v2/models/{model}/versions/{version}/ready", **openapi.V2_MODEL_VERSION_READY)
async def v2_model_ready(request: Request) -> Response:
    """Whether a model is ready."""
    return _ready(request)


@router.post("/v2/models/{model}/infer", **openapi.V2_INFER)
@router.post("/v2/models/{model}/versions/{version}/infer", **openapi.V2_INFER_VERSION)
async def v2_infer(request: Request) -> Response:
    """The breeds of each photo of the one input, best first, as JSON text."""
    return await _answered(request, "kserve-v2")


def _model(request: Request) -> str:
    """The model of the path.

    Raises:
        NotFound: it is not served.
    """
    name: str = request.path_params["model"]
    catalogue: Catalogue = request.app.state.catalogue
    # Both: no card is known at the start, and a model that goes has one for a moment longer.
    offered = list({**catalogue.versions(), **catalogue.cards()})
    if name not in offered:
        raise NotFound(f"model: {shorten(name)} is not served; {offered} are")
    return name


def _listed(request: Request) -> str:
    """As `_model`, for what does not ask TorchServe: the version has to be a known one, too."""
    model = _model(request)
    version = request.path_params.get("version")
    versions = _versions(request.app.state.catalogue, model)
    if version is not None and version not in versions:
        raise NotFound(f"version: {shorten(version)} of {model} is not served; {versions} are")
    return model


def _versions(catalogue: Catalogue, model: str) -> list[str]:
    card = catalogue.cards().get(model)
    return list(card["versions"] if card else catalogue.versions().get(model, ()))


def _ready(request: Request) -> Response:
    """Of a model's versions the default is looked at; the others were when they were loaded."""
    model = _listed(request)
    is_ready = request.app.state.monitor.ready().get(model, False)
    return json_response({"name": model, "ready": is_ready}, 200 if is_ready else 503)


async def _answered(request: Request, form: KServeForm, explain_it: bool = False) -> Response:
    model, version = _model(request), request.path_params.get("version")
    address = request.client.host if request.client else ""
    with request.app.state.admission.ticket(address) as ticket:
        asked = await read_photos(request, form, ticket)
        upload = to_upload(asked, model, version, explain_it)
        work = predictions(request, upload, ticket, explain_it)
        answers = await until_disconnect(request, work)
    record = record_of(request.scope)
    entries = [_entry(answer, record.request_id) for answer in answers]
    of_the_request = _tell_places(asked, answers, entries)
    if all(answer.status != 200 for answer in answers):
        first = (of_the_request or entries)[0]
        problem = {**first, "request_id": record.request_id, _ERROR: first["detail"]}
        response = passed_problem(json.dumps(problem).encode(), first["status"])
    elif explain_it:
        response = json_response({"explanations": entries})
    else:
        # Those that say so; else what was asked for. Of two (a canary failed one photo) it is none.
        told = record.versions or {version or request.app.state.catalogue.default_version(model)}
        one = next(iter(told)) if len(told) == 1 else None
        response = json_response(envelope(asked, entries, model, one))
    tell_wait(response, answers)
    return response


def _entry(answer: Answer | Problem, request_id: str) -> dict[str, Any]:
    """A photo's result or problem."""
    if isinstance(answer, Problem):
        return answer.to_body(request_id)
    entry: dict[str, Any] = json.loads(answer.body)
    return entry


def _tell_places(
    asked: PhotoRequest, answers: Sequence[Answer | Problem], entries: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Say in each problem of a photo which one it is; those that are the request's are returned."""
    of_the_request = []
    for number, (answer, entry) in enumerate(zip(answers, entries, strict=True)):
        if answer.status == 200:
            continue
        # What has been found when the body was read is there already in the photo's place.
        if answer is asked.photos[number] or entry["type"] in _OF_A_PHOTO:
            entry["detail"] = f"{asked.place(number)}: {entry['detail']}"
        else:
            of_the_request.append(entry)
    return of_the_request
