"""KServe's protocols through a real gateway, beside TorchServe's own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.answers import JSON, b64
from tests.canaries import BOTH, NEW, announced, canary, served_beside
from tests.service import DEMO, R50, Service
from tests.web.conftest import StartGateway
from tests.web.gateway_process import GatewayProcess
from tests.web.kserve_calls import BAD, EXPLAIN, V1, V2, get, post, refusal_of, v1, v2
from tests.web.scripted_server import Scripted, ScriptedServer


def assert_same(got: Any, expected: Any) -> None:  # noqa: ANN401 - parsed JSON
    """But for times and ids, and for what it changes that photos are summed in other batches."""
    if isinstance(expected, dict):
        assert got.keys() == expected.keys()
        for key in got.keys() - {"timing_ms", "request_id"}:
            assert_same(got[key], expected[key])
    elif isinstance(expected, list):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, float):
        assert got == pytest.approx(expected, abs=1e-4)
    elif isinstance(expected, str) and expected.startswith("{"):
        assert_same(json.loads(got), json.loads(expected))
    else:
        assert got == expected


# path, photo -> body
SAME: dict[str, tuple[str, Callable[[bytes], dict[str, Any]]]] = {
    "v1": (V1, lambda p: v1(p)),
    "v1, the other form": (V1, lambda p: {"instances": [{"image": {"b64": b64(p)}}]}),
    "v1, three": (V1, lambda p: v1(p, p, p, parameters={"top_k": 2})),
    "v1, bad ones between": (V1, lambda p: v1(p, BAD, p, p[: len(p) // 3], b"")),
    "v1, no base64": (V1, lambda p: {"instances": [*v1(p)["instances"], {"b64": "?"}, 7, {}]}),
    "v1, an unknown key": (V1, lambda p: {"instances": [*v1(p)["instances"], {"c": 1}]}),
    "v2": (V2, lambda p: v2(p)),
    "v2, with everything": (
        V2,
        lambda p: v2(
            *(p, p), id="a-1", parameters={"top_k": "2"}, outputs=[{"name": "predictions"}]
        ),
    ),
    "v2, a column": (
        V2,
        lambda p: {"inputs": [{**v2(p, p)["inputs"][0], "shape": [2, 1], "parameters": {}}]},
    ),
    "v2, a data URL": (
        V2,
        lambda p: {
            "inputs": [{**v2(p)["inputs"][0], "data": [f"data:image/jpeg;base64,{b64(p)}"]}]
        },
    ),
    "v2, bad ones between": (V2, lambda p: v2(BAD, p, b"\xff\xd8")),
    "another model": (f"/v2/models/{R50}/infer", lambda p: v2(p)),
    "a version": (f"/v2/models/{DEMO}/versions/0.1/infer", lambda p: v2(p, id="x")),
}


@pytest.mark.parametrize("name", SAME)
def test_each_body_gets_torchserves_answer(
    gateway: GatewayProcess, service: Service, cat_photo: bytes, name: str
) -> None:
    path, body = SAME[name]
    # TorchServe knows KServe's paths, but not those of versions.
    theirs = service.post(path.replace("/versions/0.1", ""), json.dumps(body(cat_photo)), JSON)
    assert theirs.status_code == 200, theirs.text
    ours = post(gateway, path, body(cat_photo))
    assert ours.status_code == 200, ours.text
    assert ours.headers["Content-Type"] == "application/json"
    assert ours.headers["Cache-Control"] == "no-store"
    assert_same(ours.json(), theirs.json())
    assert ("Siamese" in ours.text) is (R50 not in path)


@pytest.mark.parametrize(
    ("path", "body"),
    [(V1, v1(BAD)), (V1, v1(BAD, b"")), (V2, v2(BAD)), (V2, v2(b"", BAD)), (V2, v2(b"\xff\xd8"))],
)
def test_without_a_good_photo_the_first_ones_problem_is_the_answer(
    gateway: GatewayProcess, service: Service, path: str, body: dict[str, Any]
) -> None:
    theirs = service.post(path, json.dumps(body), JSON).json()
    kind = theirs["type"].rpartition(":")[2]
    detail = refusal_of(post(gateway, path, body), theirs["status"], kind)
    assert detail == theirs["detail"]


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/x-www-form-urlencoded"}])
def test_the_content_type_does_not_matter(
    gateway: GatewayProcess, cat_photo: bytes, headers: dict[str, str]
) -> None:
    body = json.dumps(v1(cat_photo)).encode()
    assert post(gateway, V1, body, headers).status_code == 200


def test_many_photos_come_back_in_order(gateway: GatewayProcess, cat_photo: bytes) -> None:
    body = v2(*[cat_photo, BAD] * 16, parameters={"top_k": 1})
    (output,) = post(gateway, V2, body).json()["outputs"]
    assert output["shape"] == [32]
    answers = [json.loads(each) for each in output["data"]]
    assert [each.get("status", "good") for each in answers] == ["good", 415] * 16
    assert answers[31]["detail"].startswith("inputs[0].data[31]: ")


def test_an_explanation_is_that_of_the_public_api(
    gateway: GatewayProcess, cat_photo: bytes
) -> None:
    (explained,) = post(gateway, EXPLAIN, v1(cat_photo)).json()["explanations"]
    plain = requests.post(f"{gateway.url}/api/explain", cat_photo, timeout=60).json()
    assert explained == plain
    body = v1(cat_photo, parameters={"class": "Persian"})
    (explained,) = post(gateway, EXPLAIN, body).json()["explanations"]
    assert explained["class"]["breed"] == "Persian"


def test_what_is_served_is_told(gateway: GatewayProcess) -> None:
    gateway.wait_for(lambda: get(gateway, "/api/models").ok)
    assert get(gateway, "/v1/models").json() == {"models": [DEMO, R50]}
    assert get(gateway, f"/v1/models/{DEMO}").json() == {"name": DEMO, "ready": True}
    about = get(gateway, "/v2").json()
    assert (about["name"], about["extensions"]) == ("catbreeds", [])
    assert get(gateway, "/v2/health/live").json() == {"live": True}
    assert get(gateway, "/v2/health/ready").json() == {"live": True, "ready": True}
    for path in (f"/v2/models/{R50}", f"/v2/models/{R50}/versions/1.0"):
        model = get(gateway, path).json()
        assert (model["name"], model["versions"]) == (R50, ["1.0"])
        assert model["platform"]
        for tensors, name in ((model["inputs"], "photo"), (model["outputs"], "predictions")):
            assert tensors == [{"name": name, "datatype": "BYTES", "shape": [-1]}]
        assert get(gateway, f"{path}/ready").json() == {"name": R50, "ready": True}


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/models/dogs", "/v2/models/dogs", "/v2/models/dogs/ready"),
        *("/v2/models/dogs/versions/1.0", f"/v2/models/{DEMO}/versions/9.9/ready"),
        f"/v2/models/{DEMO}/versions/1.0",
    ],
)
def test_what_is_not_served_is_not_there(gateway: GatewayProcess, path: str) -> None:
    refusal_of(get(gateway, path), 404, "not-found")


@pytest.mark.parametrize("path", [V1, EXPLAIN, V2])
def test_photos_are_posted(gateway: GatewayProcess, path: str) -> None:
    response = get(gateway, path)
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert requests.put(gateway.url + path, timeout=10).headers["Allow"] == "POST"


def test_a_server_that_fails_is_not_ready(start_gateway: StartGateway, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("Authorization: Bearer x")
    with ScriptedServer(Scripted(503, {})) as server:
        gateway = start_gateway(server.url, models=DEMO, token_file=token, ready_every_s=0.1)
        gateway.wait_for(lambda: DEMO in gateway.log())
        assert get(gateway, "/v2/health/live").ok
        assert get(gateway, "/v2/health/ready").json() == {"live": True, "ready": False}
        assert get(gateway, "/v2/health/ready").status_code == 503
        for path in (f"/v1/models/{DEMO}", f"/v2/models/{DEMO}/ready"):
            assert get(gateway, path).status_code == 503
            assert get(gateway, path).json() == {"name": DEMO, "ready": False}
        response = post(gateway, V1, v1(b"a photo", b"another"))
        assert refusal_of(response, 503, "overloaded").startswith(f"model {DEMO}")
        assert int(response.headers["Retry-After"]) >= 1


def test_photos_count_against_the_clients_rate(
    start_gateway: StartGateway, cat_photo: bytes
) -> None:
    gateway = start_gateway(rate="5/minute").wait_until_ready()
    assert post(gateway, V1, v1(*[cat_photo] * 3)).status_code == 200
    response = post(gateway, V2, v2(*[cat_photo] * 3))
    assert "5 photos a minute" in refusal_of(response, 429, "rate-limited")
    assert 1 <= int(response.headers["Retry-After"]) <= 60


def test_a_canary_answers_and_the_default_where_it_cannot(
    start_gateway: StartGateway,
    service: Service,
    cat_photo: bytes,
    model_store: Path,
    tmp_path: Path,
) -> None:
    gateway = start_gateway(rate="none").wait_until_ready()
    with announced(service, **canary(version="7.7")):
        assert post(gateway, V2, v2(cat_photo)).json()["model_version"] == "0.1"
    assert metrics(gateway)[f'catbreeds_web_canary_fallbacks_total{{model="{DEMO}"}}'] == 1
    with served_beside(service, model_store, tmp_path), announced(service, **BOTH, **canary()):
        answer = post(gateway, V2, v2(cat_photo, cat_photo)).json()
        assert answer["model_version"] == NEW
        assert {json.loads(each)["version"] for each in answer["outputs"][0]["data"]} == {NEW}
        (named,) = post(gateway, V1, v1(cat_photo)).json()["predictions"]
        assert named["version"] == NEW
        path = f"/v2/models/{DEMO}/versions"
        gateway.wait_for(lambda: get(gateway, f"{path}/{NEW}/ready").ok)
        assert get(gateway, f"{path}/0.1").json()["versions"] == ["0.1", NEW]
        answer = post(gateway, f"{path}/0.1/infer", v2(cat_photo)).json()
        assert answer["model_version"] == "0.1"


def metrics(gateway: GatewayProcess) -> dict[str, float]:
    lines = get(gateway, "/metrics").text.splitlines()
    told = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in told.items()}


def test_metrics_and_log_tell_of_each_photo_and_of_declared_routes_alone(
    start_gateway: StartGateway, cat_photo: bytes
) -> None:
    gateway = start_gateway(log_format="json").wait_until_ready()
    post(gateway, V1, v1(cat_photo, BAD, cat_photo))
    post(gateway, V2, v2(BAD, BAD))
    post(gateway, V2, v2(BAD))
    for number in range(3):
        get(gateway, f"/v1/models/somebody-{number}")
        post(gateway, f"/v2/models/{DEMO}/versions/{number}.9/infer", v2(cat_photo))
    told = metrics(gateway)
    assert told[f'catbreeds_web_photos_total{{model="{DEMO}",version="0.1"}}'] == 2
    assert told['catbreeds_web_problems_total{problem="unsupported-image"}'] == 4
    routes = {
        (found[1], found[2]): told[name]
        for name in told
        if (found := re.match(r'.*requests_total\{route="(/v[12][^"]*)",status="(\d+)"', name))
    }
    assert routes == {
        ("/v1/models/{model}:predict", "200"): 1,
        ("/v2/models/{model}/infer", "415"): 2,
        ("/v1/models/{model}", "404"): 3,
        ("/v2/models/{model}/versions/{version}/infer", "404"): 3,
    }
    lines = [json.loads(line) for line in gateway.log().splitlines() if line.startswith("{")]
    first, _, single = [line for line in lines if line.get("photos")][:3]
    assert (first["route"], first["photos"]) == ("/v1/models/{model}:predict", 3)
    assert (first["model"], first["version"], len(first["torchserve_ids"])) == (DEMO, "0.1", 3)
    assert (single["photos"], single["problem"]) == (1, "unsupported-image")
    assert "somebody" not in gateway.log()


def test_looks_at_its_health_leave_no_line(gateway: GatewayProcess) -> None:
    before = len(gateway.log())
    for path in ("/v2/health/live", "/v2/health/ready", "/v1/models"):
        assert get(gateway, path).ok
    gateway.wait_for(lambda: "route=/v1/models" in gateway.log()[before:])
    assert gateway.log()[before:].count("GET") == 1
