"""A new version on trial beside the default, as the gateway's clients see it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from serving import state
from serving.state import ServerRecord
from serving.traffic import Canary
from tests.answers import form, problem_of
from tests.canaries import BOTH, NEW, announced, canary, default_is, scale, served_beside
from tests.service import DEMO, R50, Service
from tests.web.conftest import StartGateway
from tests.web.gateway_process import GatewayProcess
from tests.web.other_server import other_server


@pytest.fixture(scope="module", autouse=True)
def new_version(
    service: Service, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Version 0.2 of the demo is served as well; 0.1 is the default."""
    with served_beside(service, model_store, tmp_path_factory.mktemp("new")):
        yield


def version_of(response: requests.Response) -> str:
    assert response.status_code == 200, response.text
    version: str = response.json()["version"]
    return version


def ask(gateway: GatewayProcess, photo: bytes, client: str = "", api: str = "classify") -> str:
    """The version that answers a client, who names none."""
    headers = {"X-Forwarded-For": client} if client else {}
    url = f"{gateway.url}/api/{api}"
    return version_of(requests.post(url, photo, headers=headers, timeout=60))


def metrics(gateway: GatewayProcess) -> dict[str, float]:
    lines = requests.get(f"{gateway.url}/metrics", timeout=10).text.splitlines()
    told = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in told.items()}


def fallbacks(gateway: GatewayProcess) -> float:
    name = f'catbreeds_web_canary_fallbacks_total{{model="{DEMO}"}}'
    return metrics(gateway).get(name, 0)


def lines(gateway: GatewayProcess, route: str) -> list[dict[str, Any]]:
    """What a log in JSON tells of requests."""
    told = [json.loads(line) for line in gateway.log().splitlines() if line.startswith("{")]
    return [line for line in told if line.get("route") == route]


@pytest.mark.parametrize("api", ["classify", "explain"])
def test_with_a_share_of_all_every_client_gets_the_canary(
    gateway: GatewayProcess, service: Service, cat_photo: bytes, api: str
) -> None:
    assert ask(gateway, cat_photo, api=api) == "0.1"
    with announced(service, **BOTH, **canary(share=1.0)):
        assert ask(gateway, cat_photo, api=api) == NEW
    assert ask(gateway, cat_photo, api=api) == "0.1"


def test_all_photos_of_a_request_get_the_same_version(
    gateway: GatewayProcess, service: Service, cat_photo: bytes
) -> None:
    body, headers = form(*(("images", (f"{n}", cat_photo)) for n in range(4)))
    with announced(service, **BOTH, **canary()):
        answer = requests.post(f"{gateway.url}/api/classify", body, headers=headers, timeout=60)
    assert [each["version"] for each in answer.json()["results"]] == [NEW] * 4


def test_a_client_stays_with_its_version(
    start_gateway: StartGateway, service: Service, cat_photo: bytes
) -> None:
    """Also with another gateway, and with all addresses of its network (IPv6)."""
    clients = [f"203.0.113.{n}" for n in range(30)]
    first, second = (start_gateway(trusted_proxies="127.0.0.1", rate="none") for _ in range(2))
    with announced(service, **BOTH, **canary(share=0.5)):
        got = {client: ask(first, cat_photo, client) for client in clients}
        for gateway in (second, first):
            assert {client: ask(gateway, cat_photo, client) for client in clients} == got
        for n in range(10):
            home = {ask(first, cat_photo, f"2001:db8:0:{n}::{host}") for host in range(1, 4)}
            assert len(home) == 1
    assert 8 <= list(got.values()).count(NEW) <= 22
    with announced(service, **BOTH, **canary(share=0.8)):
        more = {client: ask(first, cat_photo, client) for client in clients}
    assert all(more[client] == NEW for client in clients if got[client] == NEW)
    assert list(more.values()).count(NEW) > list(got.values()).count(NEW)


def test_a_canary_that_is_not_renewed_is_over(
    gateway: GatewayProcess, service: Service, cat_photo: bytes
) -> None:
    """As after the command that tries it was killed: nobody writes the record any more."""
    with announced(service, **BOTH, **canary(until=time.time() + 5)):
        assert ask(gateway, cat_photo) == NEW
        gateway.wait_for(lambda: ask(gateway, cat_photo) == "0.1")


def test_who_names_a_version_or_another_model_is_left_alone(
    gateway: GatewayProcess, service: Service, cat_photo: bytes
) -> None:
    with announced(service, **BOTH, **canary()):
        for version in ("0.1", NEW):
            assert version_of(gateway.classify(cat_photo, version=version)) == version
        assert version_of(gateway.classify(cat_photo, model=R50)) == "1.0"
    before = fallbacks(gateway)
    with announced(service, **canary(version="7.7")):
        problem_of(gateway.classify(cat_photo, version="7.7"), 404, "not-found")
    assert fallbacks(gateway) == before


@pytest.mark.parametrize("api", ["classify", "explain"])
def test_where_the_canary_is_not_there_the_default_answers(
    start_gateway: StartGateway, service: Service, cat_photo: bytes, api: str
) -> None:
    gateway = start_gateway(log_format="json")
    with announced(service, **canary(version="7.7")):
        response = requests.post(f"{gateway.url}/api/{api}", cat_photo, timeout=60)
    assert version_of(response) == "0.1"
    assert fallbacks(gateway) == 1
    gateway.wait_for(lambda: lines(gateway, f"/api/{api}"))
    (line,) = lines(gateway, f"/api/{api}")
    assert (line["version"], line["passed_over"]) == ("0.1", "7.7:not-found")
    assert line["request_id"] == response.headers["x-request-id"]


def test_where_the_canary_has_no_worker_the_default_answers(
    gateway: GatewayProcess, service: Service, cat_photo: bytes
) -> None:
    before = fallbacks(gateway)
    scale(service, NEW, 0)
    try:
        with announced(service, **BOTH, **canary()):
            assert ask(gateway, cat_photo) == "0.1"
            assert ask(gateway, cat_photo, api="explain") == "0.1"
    finally:
        scale(service, NEW, 1)
    assert fallbacks(gateway) - before == 2


def broken(content: Path) -> None:
    """A handler that answers every batch with internal errors."""
    code = content / "model_service.py"
    code.write_text(code.read_text() + "\n    def _answer(self, batch, context):\n        1 / 0\n")


def test_where_the_canary_has_a_bug_the_default_answers(
    gateway: GatewayProcess,
    service: Service,
    cat_photo: bytes,
    model_store: Path,
    tmp_path: Path,
) -> None:
    before = fallbacks(gateway)
    with served_beside(service, model_store, tmp_path, "0.3", broken):
        problem_of(gateway.classify(cat_photo, version="0.3"), 500, "internal-error")
        with announced(service, **canary(version="0.3")):
            assert ask(gateway, cat_photo) == "0.1"
            body, headers = form(("images", ("a", cat_photo)), ("images", ("b", b"no photo")))
            answer = requests.post(f"{gateway.url}/api/classify", body, headers=headers, timeout=60)
    good, bad = answer.json()["results"]
    assert (good["version"], bad["status"]) == ("0.1", 415)
    assert fallbacks(gateway) - before == 3


def test_a_photo_that_is_none_is_the_clients_problem(
    gateway: GatewayProcess, service: Service
) -> None:
    before = fallbacks(gateway)
    with announced(service, **BOTH, **canary()):
        problem_of(gateway.classify(b"no photo"), 415, "unsupported-image")
    # The default was asked as well: it could be that only the canary cannot read it.
    assert fallbacks(gateway) - before == 1


GOOD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n"
    b'{"version":"0.1"}'
)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "not-found"),
        (b"HTTP/1.1 503 Oops\r\nContent-Length: 0\r\n\r\n", "overloaded"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", "bad-answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops", "bad-answer"),
        (b"", "unavailable"),
        (None, "upstream-timeout"),
    ],
)
def test_whatever_the_canary_says_amiss_the_default_is_asked(
    start_gateway: StartGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes | None,
    kind: str,
) -> None:
    monkeypatch.setenv("CATBREEDS_STATE", str(tmp_path))

    def respond(head: bytes) -> bytes | None:
        return answer if head.startswith(b"POST /predictions/cat-breeds/0.2 ") else GOOD

    with other_server(respond) as url:
        folder = state.folder_of(url)
        folder.mkdir(parents=True)
        trying = {DEMO: Canary(NEW, 1.0, 1e12)}
        record = ServerRecord(url, "", "", "", 1, {DEMO: ["0.1"]}, "", trying)
        state.write_record(folder, record)
        gateway = start_gateway(url, answer_s=2, ready_every_s=60)
        assert ask(gateway, b"a photo") == "0.1"
        assert fallbacks(gateway) == 1
        gateway.wait_for(lambda: f"passed_over=0.2:{kind}" in gateway.log())


def test_log_and_metrics_tell_which_version_answered(
    start_gateway: StartGateway, service: Service, cat_photo: bytes
) -> None:
    gateway = start_gateway(log_format="json")
    with announced(service, **BOTH, **canary()):
        ask(gateway, cat_photo)
        ask(gateway, cat_photo)
        gateway.classify(cat_photo, version="0.1")
        gateway.classify(cat_photo, version="somebodys-own")
    told = {name: value for name, value in metrics(gateway).items() if "photos_total" in name}
    assert told == {
        f'catbreeds_web_photos_total{{model="{DEMO}",version="0.1"}}': 1,
        f'catbreeds_web_photos_total{{model="{DEMO}",version="{NEW}"}}': 2,
    }
    gateway.wait_for(lambda: len(lines(gateway, "/api/classify")) == 4)
    versions = [line.get("version") for line in lines(gateway, "/api/classify")]
    assert versions == [NEW, NEW, "0.1", None]
    assert not any("passed_over" in line for line in lines(gateway, "/api/classify"))


def test_nobody_notices_that_a_canary_is_retired(
    gateway: GatewayProcess,
    service: Service,
    cat_photo: bytes,
    model_store: Path,
    tmp_path: Path,
) -> None:
    """Also where it is gone before its entry is."""
    stop = threading.Event()
    versions: list[str] = []

    def ask_on() -> None:
        while not stop.is_set():
            versions.append(ask(gateway, cat_photo))

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask_on) for _ in range(4)]
        try:
            with announced(service, **canary(version="0.4")):
                with served_beside(service, model_store, tmp_path, "0.4"):
                    gateway.wait_for(lambda: versions[-8:] == ["0.4"] * 8)
                gateway.wait_for(lambda: versions[-8:] == ["0.1"] * 8)
        finally:
            stop.set()
        for client in clients:
            client.result()


def models(gateway: GatewayProcess) -> dict[str, Any]:
    answer = requests.get(f"{gateway.url}/api/models", timeout=10).json()
    return {each["name"]: (each["default"], each["versions"]) for each in answer["models"]}


def is_ready(gateway: GatewayProcess) -> bool:
    return requests.get(f"{gateway.url}/readyz", timeout=10).ok


def follow(gateway: GatewayProcess, condition: Callable[[], bool]) -> None:
    """Wait for it; the gateway is ready all the while."""

    def both() -> bool:
        assert is_ready(gateway), gateway.log()
        return condition()

    gateway.wait_for(both)


def test_the_list_of_models_follows_deployments(
    start_gateway: StartGateway, service: Service
) -> None:
    gateway = start_gateway(models=f"{DEMO},{R50}").wait_until_ready()
    gateway.wait_for(lambda: requests.get(f"{gateway.url}/api/models", timeout=10).ok)
    before = {DEMO: ("0.1", ["0.1"]), R50: ("1.0", ["1.0"])}
    gateway.wait_for(lambda: models(gateway) == before)
    with announced(service, **BOTH):
        follow(gateway, lambda: models(gateway)[DEMO] == ("0.1", ["0.1", NEW]))
        # TorchServe's default is another one for a moment before the record says so, or after.
        with default_is(service, NEW), announced(service, models={DEMO: [NEW, "0.1"]}):
            follow(gateway, lambda: models(gateway)[DEMO] == (NEW, [NEW, "0.1"]))
    follow(gateway, lambda: models(gateway) == before)


def test_a_new_default_that_does_not_answer_is_not_ready_and_the_way_back_is(
    start_gateway: StartGateway, service: Service, cat_photo: bytes
) -> None:
    # It would count as ready for so long, were the default before taken for the new one.
    gateway = start_gateway(models=DEMO, ready_every_s=600).wait_until_ready()
    scale(service, NEW, 0)
    try:
        with default_is(service, NEW), announced(service, models={DEMO: [NEW, "0.1"]}):
            gateway.wait_for(lambda: not is_ready(gateway))
            assert version_of(gateway.classify(cat_photo, version="0.1")) == "0.1"
            assert not is_ready(gateway)
    finally:
        scale(service, NEW, 1)
    gateway.wait_for(lambda: is_ready(gateway))


def test_a_canary_that_answers_does_not_make_its_model_ready(
    start_gateway: StartGateway, service: Service, cat_photo: bytes
) -> None:
    gateway = start_gateway(models=DEMO, ready_every_s=0.2).wait_until_ready()
    scale(service, "0.1", 0)
    try:
        with announced(service, **BOTH, **canary()):
            gateway.wait_for(lambda: not is_ready(gateway))
            assert ask(gateway, cat_photo) == NEW
            assert not is_ready(gateway)
    finally:
        scale(service, "0.1", 1)
    gateway.wait_until_ready()
