"""Whether the service is alive, whether it is ready, and its metrics."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from ipaddress import ip_address
from pathlib import Path

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from handlers.problems import Problem
from serving.inference import GATEWAY
from web import openapi
from web.answers import json_response
from web.models import Catalogue
from web.problems import NotFound
from web.service_metrics import ServiceMetrics
from web.settings import Settings
from web.upstream import Question, Upstream

log = logging.getLogger(__name__)
router = APIRouter()

_WARM_UP_PHOTO = Path(__file__).parent / "static" / "examples" / "siamese.webp"
# An answer counts for so many looks; a look that fails counts at once.
_LOOKS = 3
_PATIENCE_S = 10.0
# A new default is looked at that soon.
_MOST_PAUSE_S = 0.5


class Monitor:
    """Asks each model for a photo's breeds, unless clients have had an answer from it lately."""

    def __init__(self, settings: Settings, catalogue: Catalogue, upstream: Upstream) -> None:
        self._every_s = settings.ready_every_s
        self._catalogue = catalogue
        self._upstream = upstream
        self._photo = _WARM_UP_PHOTO.read_bytes()
        self._answered: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        self._looks: dict[str, tuple[float, str | None]] = {}

    def answered(self, model: str, version: str) -> None:
        """A version of the model has just given a client a good answer.

        Only the default's counts. One that does not tell its version (empty) is the default's.
        """
        if version in ("", self._catalogue.default_version(model)):
            self._good(model)

    def ready(self) -> dict[str, bool]:
        """Model -> whether it has answered a photo lately, and has not failed since."""
        oldest = time.monotonic() - _LOOKS * self._every_s
        return {
            name: self._answered.get(name, -math.inf) > oldest and name not in self._problems
            for name in self._catalogue.versions()
        }

    def report(self) -> tuple[bool, dict[str, object]]:
        """Whether all models are ready, and what is known of each."""
        ready, now = self.ready(), time.monotonic()
        models: dict[str, object] = {}
        for name in ready:
            at = self._answered.get(name)
            models[name] = {
                "answered_s_ago": None if at is None else round(now - at, 1),
                "problem": self._problems.get(name),
            }
        return bool(ready) and all(ready.values()), models

    async def watch(self) -> None:
        """Look at all models again and again; ends when it is cancelled."""
        while True:
            due = [name for name in self._catalogue.versions() if self._is_due(name)]
            await asyncio.gather(*(self._look(name) for name in due))
            await asyncio.sleep(min(self._every_s, _MOST_PAUSE_S))

    def _is_due(self, model: str) -> bool:
        """Whether nothing was heard of the model for a while, or another version is its default.

        Until that has been looked at, what is known of the one before stands for it: it was
        tried before it became the default.
        """
        looked, default = self._looks.get(model, (-math.inf, None))
        heard = max(looked, self._answered.get(model, -math.inf))
        return (
            default != self._catalogue.default_version(model)
            or time.monotonic() - heard >= self._every_s
        )

    async def _look(self, model: str) -> None:
        self._looks[model] = time.monotonic(), self._catalogue.default_version(model)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                # The handler leaves it out of its counts of answers.
                asked = Question(self._photo, model, headers={"probe": "True"})
                answer = await self._upstream.predict(asked)
        except Problem as problem:
            self._not_ready(model, problem.detail)
            return
        except TimeoutError:
            self._not_ready(model, f"model {model}: no answer within {_PATIENCE_S:g} s")
            return
        except Exception:
            log.exception("the warm-up of %s failed", model)
            self._not_ready(model, "the gateway's log has the cause")
            return
        if answer.is_problem:
            self._not_ready(model, f"answers the warm-up photo with {answer.status}")
        else:
            self._good(model)

    def _good(self, model: str) -> None:
        self._answered[model] = time.monotonic()
        self._problems.pop(model, None)

    def _not_ready(self, model: str, why: str) -> None:
        if self._problems.get(model) != why:
            log.warning("%s is not ready: %s", model, why)
        self._problems[model] = why


@router.get("/healthz", **openapi.ALIVE)
async def alive() -> Response:
    """Whether the gateway itself runs."""
    return json_response({"status": "alive", "service": GATEWAY})


@router.get("/readyz", **openapi.READY)
async def ready(request: Request) -> Response:
    """Whether each model has answered a photo lately."""
    is_ready, models = request.app.state.monitor.report()
    status = "ready" if is_ready else "not ready"
    return json_response({"status": status, "models": models}, 200 if is_ready else 503)


@router.get("/metrics", **openapi.METRICS)
async def metrics(request: Request) -> Response:
    """Prometheus' text format; for the networks of the setting `metrics_from`."""
    state = request.app.state
    try:
        address = ip_address(request.client.host) if request.client else None
    except ValueError:
        address = None  # a proxy has passed on what is no address
    if address is None or not any(address in network for network in state.settings.metrics_from):
        raise NotFound(f"path: {request.url.path} is not there")
    state.metrics.in_work.set(state.admission.photos)
    state.metrics.wait.set(state.admission.expected_wait_s)
    state.metrics.memory.set(state.admission.memory)
    behind = ServiceMetrics(state.monitor.ready(), state.catalogue, state.server_folder)
    content = generate_latest(state.metrics.registry) + generate_latest(behind)
    return Response(content, media_type=CONTENT_TYPE_LATEST)
