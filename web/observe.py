"""Around every request: its id, its line in the log, its metrics, and the security headers.

A line says what was asked and what came of it. It holds nothing of a photo, and neither the
client's address nor anything else that leads to a person.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handlers.problems import InternalError
from web.answers import problem_response
from web.problems import Unavailable
from web.record import Record

log = logging.getLogger(__name__)

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), geolocation=(), microphone=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_CLIENT_GONE = 499
_FILES = ("/static/", "/docs/static/")
# Asked every few seconds by what watches the service.
_QUIET = (*_FILES, "/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")


class Metrics:
    """The gateway's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "catbreeds_web_requests_total",
            "Requests by route and status.",
            ["route", "status"],
            registry=self.registry,
        )
        self.problems = Counter(
            "catbreeds_web_problems_total",
            "Problems of requests and of photos, by kind.",
            ["problem"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "catbreeds_web_request_seconds",
            "From the headers to the last byte of the answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.photos = Counter(
            "catbreeds_web_photos_total",
            "Photos answered, by model and version.",
            ["model", "version"],
            registry=self.registry,
        )
        self.fallbacks = Counter(
            "catbreeds_web_canary_fallbacks_total",
            "Photos that a canary failed to answer, and the default was asked.",
            ["model"],
            registry=self.registry,
        )
        self.refused = Counter(
            "catbreeds_web_photos_refused_total",
            "Photos refused because they would have waited too long.",
            registry=self.registry,
        )
        self.in_work = Gauge(
            "catbreeds_web_photos_in_work", "Photos in work now.", registry=self.registry
        )
        self.wait = Gauge(
            "catbreeds_web_expected_wait_seconds",
            "That a photo which comes now has to wait for those before it.",
            registry=self.registry,
        )
        self.memory = Gauge(
            "catbreeds_web_upload_bytes", "Bytes of uploads in memory.", registry=self.registry
        )


class Observe:
    """ASGI middleware, outermost but for Starlette's own."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        record = scope["catbreeds.record"] = Record()
        status = 0

        async def add_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    *_HEADERS,
                    (b"x-request-id", record.request_id.encode()),
                ]
            await send(message)

        # What GET gives, without the body, which uvicorn leaves out (RFC 9110, 9.3.2).
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self._app(asked, receive, add_headers)
        except asyncio.CancelledError:
            if status == 0:
                problem = Unavailable("the gateway is being stopped")
                await problem_response(problem, record)(scope, receive, add_headers)
            raise
        except Exception:
            log.exception("request %s failed", record.request_id)
            if status == 0:
                bug = InternalError("the server's log has the cause under this request_id")
                await problem_response(bug, record)(scope, receive, add_headers)
        finally:
            self._tell(asked, scope["method"], record, status, time.perf_counter() - begun)

    def _tell(self, scope: Scope, method: str, record: Record, status: int, seconds: float) -> None:
        if record.client_gone or status == 0:
            status = _CLIENT_GONE
        # The route as declared: a path of the client's own could hold anything, without end.
        path: str = scope["path"]
        files = next((each for each in _FILES if path.startswith(each)), "other")
        route = getattr(scope.get("route"), "path", files)
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if record.problem:
            self._metrics.problems.labels(record.problem).inc()
        if route in _QUIET:
            return
        told: dict[str, Any] = {
            "request_id": record.request_id,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        told |= {
            key: value
            for key, value in (
                ("problem", record.problem),
                ("model", record.model),
                ("version", ",".join(sorted(record.versions))),
                ("passed_over", ",".join(sorted(set(record.passed_over)))),
                ("photos", record.photos),
                ("torchserve_ids", record.upstream_ids if record.photos > 1 else None),
            )
            if value
        }
        log.info("request", extra={"told": told})


class LogLines(logging.Formatter):
    """One line an event: `key=value` words, or a JSON object."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = getattr(record, "told", {})
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        if self._as_json:
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            return json.dumps(
                {
                    "time": f"{at}.{int(record.msecs):03d}Z",
                    "level": record.levelname,
                    "logger": record.name,
                    "message": message,
                    **told,
                }
            )
        words = " ".join(f"{key}={value}" for key, value in told.items())
        return f"{record.levelname} {record.name} {message} {words}".rstrip()
