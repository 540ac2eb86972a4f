from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import requests

from serving.settings import Ports
from tests.answers import problem_of
from tests.service import DEMO, R50, Service
from tests.serving.test_metrics import settled
from tests.web.conftest import StartGateway
from tests.web.gateway_process import GatewayProcess
from tests.web.other_server import other_server


def test_ready_means_that_every_model_has_answered(gateway: GatewayProcess) -> None:
    answer = requests.get(f"{gateway.url}/readyz", timeout=10)
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    looks = answer.json()["models"]
    assert {DEMO, R50} <= set(looks)
    assert all(look["problem"] is None for look in looks.values())


def test_without_torchserve_it_is_alive_and_not_ready(start_gateway: StartGateway) -> None:
    nobody = Ports.free().inference
    gateway = start_gateway(f"http://127.0.0.1:{nobody}", models=DEMO, ready_every_s=0.1)
    alive = requests.get(f"{gateway.url}/healthz", timeout=10)
    assert (alive.status_code, alive.json()["status"]) == (200, "alive")

    def told() -> bool:
        look = requests.get(f"{gateway.url}/readyz", timeout=10).json()["models"][DEMO]
        return look["problem"] is not None

    gateway.wait_for(told)
    ready = requests.get(f"{gateway.url}/readyz", timeout=10)
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    response = gateway.classify(b"a photo")
    assert "cannot be reached" in problem_of(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert requests.get(gateway.url, timeout=10).status_code == 200
    assert gateway.log().count("is not ready") == 1


def test_the_gateways_own_looks_are_no_answers_to_people(
    service: Service, start_gateway: StartGateway
) -> None:
    def asked() -> float:
        counts = re.findall(
            rf'^ts_inference_requests_total\{{.*model_name="{DEMO}".*\}} (\S+)$',
            service.metrics(),
            re.MULTILINE,
        )
        return sum(map(float, counts))

    before, several = settled(service, DEMO, "0.1"), asked() + 5
    gateway = start_gateway(models=DEMO, ready_every_s=0.1)
    gateway.wait_for(lambda: asked() >= several)
    assert settled(service, DEMO, "0.1") == before


def test_a_model_that_does_not_answer_is_named(start_gateway: StartGateway) -> None:
    gateway = start_gateway(models=f"{DEMO},dogs", ready_every_s=0.1)

    def looks() -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = requests.get(
            f"{gateway.url}/readyz", timeout=10
        ).json()["models"]
        return found

    gateway.wait_for(lambda: looks()["dogs"]["problem"])
    gateway.wait_for(lambda: requests.get(f"{gateway.url}/api/models", timeout=10).ok)
    models = requests.get(f"{gateway.url}/api/models", timeout=10).json()["models"]
    assert [model["name"] for model in models] == [DEMO]
    assert looks()[DEMO]["problem"] is None
    assert requests.get(f"{gateway.url}/readyz", timeout=10).status_code == 503


def test_a_model_that_fails_after_a_while_is_noticed(
    start_gateway: StartGateway, service: Service
) -> None:
    gateway = start_gateway(models=R50, ready_every_s=0.1).wait_until_ready()
    scaled = {"min_worker": "0", "max_worker": "0", "synchronous": "true"}
    try:
        assert service.manage("PUT", f"/models/{R50}/1.0", scaled).ok
        gateway.wait_for(
            lambda: requests.get(f"{gateway.url}/readyz", timeout=10).status_code == 503
        )
        response = gateway.classify(b"a photo", model=R50)
        problem_of(response, 503, "overloaded")
        assert response.headers["Retry-After"]
    finally:
        scaled |= {"min_worker": "1", "max_worker": "1"}
        assert service.manage("PUT", f"/models/{R50}/1.0", scaled).ok
    gateway.wait_until_ready()


def test_the_page_comes_up_while_torchserve_hangs(start_gateway: StartGateway) -> None:
    with other_server(lambda _: None) as url:
        gateway = start_gateway(url, models=DEMO, ready_every_s=0.1)
        for _ in range(3):
            assert requests.get(gateway.url, timeout=5).status_code == 200
        problem_of(requests.get(f"{gateway.url}/api/models", timeout=5), 503, "unavailable")


def test_versions_are_those_that_answer(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record may name one that is still being loaded, or is gone."""
    record = json.loads((service.server.folder / "server.json").read_text())
    folder = tmp_path / "servers" / str(service.server.ports.inference)
    folder.mkdir(parents=True)
    versions = {"models": {DEMO: ["9.9", "0.1"]}}
    (folder / "server.json").write_text(json.dumps(record | versions))
    token = service.server.folder / "inference.header"
    monkeypatch.setenv("CATBREEDS_STATE", str(tmp_path))
    url = service.server.inference_url
    with GatewayProcess(tmp_path / "log", url, token_file=token) as gateway:
        gateway.wait_until_ready()
        (model,) = requests.get(f"{gateway.url}/api/models", timeout=10).json()["models"]
    assert (model["default"], model["versions"]) == ("0.1", ["0.1"])


def test_metrics_count_requests_problems_and_photos(
    start_gateway: StartGateway, cat_photo: bytes
) -> None:
    gateway = start_gateway()
    for photo in (cat_photo, cat_photo, b"no photo"):
        gateway.classify(photo)
    requests.get(f"{gateway.url}/a/path/of/somebodys/own", timeout=10)
    lines = requests.get(f"{gateway.url}/metrics", timeout=10).text.splitlines()
    told = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    ours = {name: float(value) for name, value in told.items() if "_bucket" not in name}
    assert ours['catbreeds_web_requests_total{route="/api/classify",status="200"}'] == 2
    assert ours['catbreeds_web_requests_total{route="/api/classify",status="415"}'] == 1
    assert ours['catbreeds_web_requests_total{route="other",status="404"}'] == 1
    assert ours['catbreeds_web_problems_total{problem="unsupported-image"}'] == 1
    assert ours[f'catbreeds_web_photos_total{{model="{DEMO}",version="0.1"}}'] == 2
    assert ours['catbreeds_web_request_seconds_count{route="/api/classify"}'] == 3
    assert ours["catbreeds_web_photos_in_work"] == 0
    assert "somebodys" not in json.dumps(told)


@pytest.mark.parametrize(("allowed", "status"), [("127.0.0.0/8", 200), ("10.0.0.0/8", 404)])
def test_metrics_are_for_the_networks_named(
    start_gateway: StartGateway, allowed: str, status: int
) -> None:
    gateway = start_gateway(metrics_from=allowed)
    assert requests.get(f"{gateway.url}/metrics", timeout=10).status_code == status


def test_a_client_behind_a_trusted_proxy_is_itself(start_gateway: StartGateway) -> None:
    """And one that only says so is not."""
    forwarded = {"X-Forwarded-For": "203.0.113.9"}
    trusting = start_gateway(trusted_proxies="127.0.0.1")
    answer = requests.get(f"{trusting.url}/metrics", headers=forwarded, timeout=10)
    assert answer.status_code == 404
    unknown = {"X-Forwarded-For": "unknown"}
    answer = requests.get(f"{trusting.url}/metrics", headers=unknown, timeout=10)
    assert answer.status_code == 404
    trusting.stop()
    plain = start_gateway()
    answer = requests.get(f"{plain.url}/metrics", headers=forwarded, timeout=10)
    assert answer.status_code == 200
