"""The gateway before a slow, full or failing model server: who is let in, who is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.answers import JSON, b64, form, problem_of
from tests.web.gateway_process import GatewayProcess
from tests.web.scripted_server import Scripted, ScriptedServer

MODEL = "cats"
PHOTO = b"a photo"
SLOW = Scripted(200, {"version": "1"}, {"Content-Type": "application/json"}, takes_s=0.06)
FULL = Scripted(503, {"message": "no worker"})
# With photos of 60 ms or more only few are let in: nine of one client.
LET_IN = 9
AT_ONCE = 30

Requests = Callable[[GatewayProcess], requests.Response]
FORMS: dict[str, Requests] = {
    "raw": lambda gateway: gateway.classify(PHOTO),
    "explain": lambda gateway: requests.post(f"{gateway.url}/api/explain", PHOTO, timeout=60),
    "a form": lambda gateway: sent_as_form(gateway, ("photo", ("a.jpg", PHOTO))),
    "several": lambda gateway: sent_as_form(gateway, *[("images", ("a.jpg", PHOTO))] * 3),
    "JSON": lambda gateway: sent_as_json(gateway, {"image": b64(PHOTO)}),
    "several as JSON": lambda gateway: sent_as_json(gateway, {"images": [b64(PHOTO)] * 3}),
    "KServe v1": lambda gateway: sent_as_json(
        gateway, {"instances": [{"b64": b64(PHOTO)}] * 3}, f"/v1/models/{MODEL}:predict"
    ),
    "KServe v1 explain": lambda gateway: sent_as_json(
        gateway, {"instances": [{"b64": b64(PHOTO)}]}, f"/v1/models/{MODEL}:explain"
    ),
    "KServe v2": lambda gateway: sent_as_json(
        gateway,
        {"inputs": [{"name": "p", "datatype": "BYTES", "shape": [1], "data": [b64(PHOTO)]}]},
        f"/v2/models/{MODEL}/infer",
    ),
    "the page": lambda gateway: requests.post(
        gateway.url, files={"file": ("a.jpg", PHOTO)}, timeout=60
    ),
}


def sent_as_form(
    gateway: GatewayProcess, *parts: tuple[str, tuple[str, bytes]]
) -> requests.Response:
    body, headers = form(*parts)
    return requests.post(f"{gateway.url}/api/classify", body, headers=headers, timeout=60)


def sent_as_json(
    gateway: GatewayProcess, body: object, path: str = "/api/classify"
) -> requests.Response:
    return requests.post(gateway.url + path, json.dumps(body), headers=JSON, timeout=60)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Gives one answer after the other, slowly."""
    with ScriptedServer(SLOW) as running:
        yield running


@contextlib.contextmanager
def gateway_before(
    server: ScriptedServer, folder: Path, **settings: object
) -> Iterator[GatewayProcess]:
    """A gateway that has seen how slow the server is."""
    token = folder / "token"
    token.write_text("Authorization: Bearer x")
    given = {"models": MODEL, "token_file": token, "rate": "none", "ready_every_s": 3600}
    with GatewayProcess(folder, server.url, **given | settings) as gateway:
        answers = [gateway.classify(PHOTO, model=MODEL).status_code for _ in range(10)]
        assert answers == [200] * 10
        gateway.wait_for(lambda: metric(gateway, "photos_in_work") == 0)
        yield gateway


def metric(gateway: GatewayProcess, name: str) -> float:
    lines = requests.get(f"{gateway.url}/metrics", timeout=10).text.splitlines()
    (line,) = [line for line in lines if line.startswith(f"catbreeds_web_{name} ")]
    return float(line.rsplit(" ", 1)[1])


@contextlib.contextmanager
def flooded(
    server: ScriptedServer, gateway: GatewayProcess, photos: int = AT_ONCE, let_in: int = LET_IN
) -> Iterator[list[requests.Response]]:
    """While `photos` were sent at once and `let_in` of them wait; those that were refused."""
    server.answers.clear()
    with ThreadPoolExecutor(photos) as pool:
        sent = [pool.submit(gateway.classify, PHOTO) for _ in range(photos)]
        try:
            gateway.wait_for(lambda: sum(map(Future.done, sent)) == photos - let_in)
            yield [each.result() for each in sent if each.done()]
        finally:
            server.answers.set()
        statuses = sorted(each.result().status_code for each in sent)
    assert statuses == [200] * let_in + [503] * (photos - let_in)


def assert_is_refused(response: requests.Response) -> None:
    assert response.status_code == 503
    assert 1 <= int(response.headers["Retry-After"]) <= 25


def test_a_flood_gets_answers_or_is_told_to_come_again(
    server: ScriptedServer, tmp_path: Path
) -> None:
    with gateway_before(server, tmp_path) as gateway:
        with flooded(server, gateway) as refused:
            for response in refused:
                assert "would wait" in problem_of(response, 503, "overloaded")
                assert_is_refused(response)
            assert metric(gateway, "expected_wait_seconds") >= LET_IN * SLOW.takes_s
            assert metric(gateway, "photos_refused_total") == AT_ONCE - LET_IN
        assert gateway.classify(PHOTO).status_code == 200
        assert metric(gateway, "expected_wait_seconds") == 0


def test_many_photos_are_taken_where_nothing_is_to_do(
    server: ScriptedServer, tmp_path: Path
) -> None:
    with gateway_before(server, tmp_path) as gateway:
        for _ in range(2):
            response = sent_as_form(gateway, *[("images", ("a.jpg", PHOTO))] * 32)
            assert response.json()["results"] == [SLOW.body] * 32


@pytest.mark.parametrize(
    "failure",
    [
        FULL,
        Scripted(404, {}),
        Scripted(500, {}),
        Scripted(200, None),
    ],
    ids=["full", "not there", "broken", "hangs up"],
)
def test_failures_that_come_quickly_do_not_let_more_in(
    server: ScriptedServer, tmp_path: Path, failure: Scripted
) -> None:
    with gateway_before(server, tmp_path) as gateway:
        server.go_on_with(failure)
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda _: gateway.classify(PHOTO).status_code, range(200))
            assert 200 not in answers
        server.go_on_with(SLOW)
        with flooded(server, gateway):
            pass
        assert gateway.classify(PHOTO).status_code == 200


def test_photos_that_are_no_photos_do_not_make_the_model_seem_slow(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """A problem is the model's answer, too: where most photos get one, all are quick."""
    bad = Scripted(415, {"type": "urn:x:y"}, {"Content-Type": "application/problem+json"})
    with gateway_before(server, tmp_path) as gateway:
        server.go_on_with(bad)
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda _: gateway.classify(PHOTO).status_code, range(300))
            assert set(answers) == {415}
        server.go_on_with(SLOW)
        with flooded(server, gateway, let_in=AT_ONCE):
            assert metric(gateway, "expected_wait_seconds") < LET_IN * SLOW.takes_s
        assert metric(gateway, "photos_refused_total") == 0


def full(server: ScriptedServer, _: GatewayProcess) -> contextlib.AbstractContextManager[object]:
    """As TorchServe is where its queue is full, or a worker starts anew."""
    server.go_on_with(FULL)
    return contextlib.nullcontext()


def no_place(
    server: ScriptedServer, gateway: GatewayProcess
) -> contextlib.AbstractContextManager[object]:
    return flooded(server, gateway, photos=5, let_in=4)


@pytest.mark.parametrize(
    ("state", "settings"),
    [(full, {}), (flooded, {}), (no_place, {"photos_at_once": 4})],
    ids=["TorchServe is full", "the wait is long", "no place is left"],
)
def test_whoever_is_refused_is_told_when_to_come_again(
    server: ScriptedServer,
    tmp_path: Path,
    state: Callable[[ScriptedServer, GatewayProcess], contextlib.AbstractContextManager[object]],
    settings: dict[str, object],
) -> None:
    with gateway_before(server, tmp_path, **settings) as gateway, state(server, gateway):
        for send in FORMS.values():
            assert_is_refused(send(gateway))
