from __future__ import annotations

import json
import re

import pytest
import requests

from tests.answers import form
from tests.service import DEMO, Service
from tests.web.conftest import StartGateway
from tests.web.gateway_process import GatewayProcess


@pytest.mark.parametrize("path", ["/", "/docs", "/api/models", "/nowhere", "/static/style.css"])
def test_every_answer_has_the_security_headers(gateway: GatewayProcess, path: str) -> None:
    headers = requests.get(gateway.url + path, timeout=10).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["x-request-id"]
    assert "server" not in headers


def test_scripts_of_named_sites_may_use_the_api(start_gateway: StartGateway) -> None:
    gateway = start_gateway(origins="https://cats.example")
    asked = {"Access-Control-Request-Method": "POST"}
    for origin, allowed in (("https://cats.example", True), ("https://dogs.example", False)):
        headers = asked | {"Origin": origin}
        answer = requests.options(f"{gateway.url}/api/classify", headers=headers, timeout=10)
        assert (answer.headers.get("Access-Control-Allow-Origin") == origin) is allowed


def test_a_problems_id_is_in_both_logs(gateway: GatewayProcess, service: Service) -> None:
    """TorchServe gives the id; its own log names it where there is something to tell."""
    response = gateway.classify(b"no photo")
    request_id = response.headers["x-request-id"]
    assert response.json()["request_id"] == request_id
    gateway.wait_for(lambda: request_id in gateway.log())
    (line,) = [line for line in gateway.log().splitlines() if request_id in line]
    assert "status=415" in line
    assert "problem=unsupported-image" in line
    assert f"model={DEMO}" in line


def test_lines_are_json_where_asked_for_and_hold_nothing_personal(
    start_gateway: StartGateway, cat_photo: bytes
) -> None:
    gateway = start_gateway(log_format="json")
    body, headers = form(("photo", ("my-holiday.jpg", cat_photo)), ("photo", ("b.jpg", b"x")))
    headers |= {"User-Agent": "a-browser", "Referer": "https://somebody.example/"}
    requests.post(f"{gateway.url}/api/classify", body, headers=headers, timeout=30)
    requests.get(f"{gateway.url}/somebody?name=jane", timeout=10)
    gateway.wait_for(lambda: '"status": 404' in gateway.log())
    lines = [json.loads(line) for line in gateway.log().splitlines() if line.startswith("{")]
    told = next(line for line in lines if line.get("route") == "/api/classify")
    assert set(told) == {
        *("time", "level", "logger", "message", "request_id", "method", "route"),
        *("status", "ms", "model", "version", "photos", "torchserve_ids"),
    }
    assert (told["status"], told["photos"], len(told["torchserve_ids"])) == (200, 2, 2)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["time"])
    for personal in ("holiday", "a-browser", "somebody", "jane", "127.0.0.1 "):
        assert personal not in gateway.log()


def test_looks_at_its_health_leave_no_line(gateway: GatewayProcess) -> None:
    before = len(gateway.log())
    for path in ("/healthz", "/readyz", "/metrics", "/static/docs.js"):
        requests.get(gateway.url + path, timeout=10)
    requests.get(f"{gateway.url}/api/models", timeout=10)
    gateway.wait_for(lambda: "route=/api/models" in gateway.log()[before:])
    assert gateway.log()[before:].count("GET") == 1
