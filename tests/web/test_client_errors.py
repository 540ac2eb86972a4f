"""The Python client has one kind of error for each thing to do about it, whoever answers."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.asking import Ask, ask_async, ask_sync
from tests.web.scripted_server import Scripted, ScriptedServer
from web.client import (
    AsyncClient,
    Breed,
    CatbreedsError,
    Cells,
    Classification,
    Client,
    PhotoProblem,
    RetryLater,
    ServiceUnreachable,
    UnexpectedAnswer,
)
from web.client.calls import MODELS_CALL, classify_call, classify_many_call, explain_call

PROBLEM = {
    "type": "urn:catbreeds:problem:unsupported-image",
    "title": "Not an image format that this model takes.",
    "status": 415,
    "detail": "image: 8 bytes",
    "request_id": "abc",
}
ANSWER = {
    "model": "cat-breeds",
    "version": "1.0",
    "predictions": [{"breed": "Siamese", "class_id": 3, "probability": 1}],
    "unsure": False,
    "timing_ms": {"decode": 1.5, "inference": 2},
    "since_a_later_version": True,
}
EXPLANATION = {
    "model": "cat-breeds",
    "version": "1.0",
    "class": {"breed": "Siamese", "class_id": 3, "probability": 1},
    "grid": [[1, -0.5]],
    "cells": {"first": 21, "step": 16.0},
    "input_size": [40, 50],
    "heatmap": "iVBORw==",
}


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param  # type: ignore[no-any-return]


def test_an_answer_as_it_stands(ask: Ask) -> None:
    with ScriptedServer(Scripted(200, ANSWER)) as server:
        answer = ask(f"{server.url}/", "classify", b"photo", model="a b", top_k=3)
        assert isinstance(answer, Classification)
        assert answer.predictions == (Breed("Siamese", 3, 1.0),)
        assert server.asked == [("POST", "/api/classify?model=a+b&top_k=3", b"photo")]


def test_an_explanation_as_it_stands_and_of_an_older_archive(ask: Ask) -> None:
    older = {key: EXPLANATION[key] for key in EXPLANATION.keys() - {"cells", "input_size"}}
    with ScriptedServer(Scripted(200, EXPLANATION), Scripted(200, older)) as server:
        first, second = (ask(server.url, "explain", b"photo") for _ in range(2))
    assert (first.cells, first.input_size) == (Cells(21.0, 16.0), (40, 50))
    assert (second.cells, second.input_size) == (None, None)
    assert first.grid == second.grid == ((1.0, -0.5),)


@pytest.mark.parametrize(
    "wrong",
    [{"cells": [0, 32]}, {"cells": {"first": 0}}, {"input_size": 96}, {"input_size": [96]}],
    ids=str,
)
def test_cells_that_are_none_are_told(wrong: dict[str, Any], ask: Ask) -> None:
    answer = Scripted(200, EXPLANATION | wrong)
    with ScriptedServer(answer) as server, pytest.raises(UnexpectedAnswer):
        ask(server.url, "explain", b"photo")


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_gateway_is_asked_again_when_it_says_so(status: int, ask: Ask) -> None:
    busy = Scripted(status, PROBLEM | {"status": status}, {"Retry-After": "0"})
    with ScriptedServer(busy, busy, Scripted(200, ANSWER)) as server:
        assert ask(server.url, "classify", io.BytesIO(b"photo")).best.breed == "Siamese"
        assert [body for _, _, body in server.asked] == [b"photo"] * 3
    with ScriptedServer(busy) as server:
        with pytest.raises(RetryLater) as later:
            ask(server.url, "classify", b"photo", retries=1)
        assert len(server.asked) == 2
        assert (later.value.status, later.value.retry_after_s) == (status, 0)


@pytest.mark.parametrize(
    "answer",
    [
        Scripted(503, PROBLEM | {"status": 503}),
        Scripted(503, PROBLEM | {"status": 503}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        Scripted(503, PROBLEM | {"status": 503}, {"Retry-After": "61"}),
        Scripted(503, PROBLEM | {"status": 503}, {"Retry-After": "9" * 5000}),
        Scripted(429, b"<h1>Too many</h1>"),
        Scripted(415, PROBLEM, {"Retry-After": "0"}),
        Scripted(500, PROBLEM | {"status": 500}, {"Retry-After": "0"}),
        Scripted(502, b"<h1>Bad gateway</h1>", {"Retry-After": "0"}),
        Scripted(504, b"", {"Retry-After": "0"}),
        Scripted(301, b"", {"Location": "/elsewhere"}),
        Scripted(200, None),
    ],
)
def test_else_it_is_asked_once(answer: Scripted, ask: Ask) -> None:
    with ScriptedServer(answer) as server:
        with pytest.raises(CatbreedsError) as error:
            ask(server.url, "classify", b"photo")
        assert len(server.asked) == 1
        assert isinstance(error.value, RetryLater) == (answer.status in (429, 503))


def test_a_proxys_own_answers_have_a_status(ask: Ask) -> None:
    page = b"<html>413 Request Entity Too Large</html>"
    with ScriptedServer(Scripted(413, page)) as server:
        with pytest.raises(PhotoProblem) as error:
            ask(server.url, "classify", b"photo")
        assert (error.value.status, error.value.slug, error.value.request_id) == (413, "", None)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello</html>",
        b"",
        b"\xff",
        b"[" * 100_000,
        [],
        {},
        7,
        "answer",
        ANSWER | {"predictions": []},
        ANSWER | {"predictions": {}},
        ANSWER | {"predictions": [7]},
        ANSWER | {"unsure": 1},
        ANSWER | {"model": None},
        ANSWER | {"timing_ms": None},
        ANSWER | {"timing_ms": {"decode": 10**400, "inference": 1}},
        {"results": []},
    ],
)
def test_what_is_no_gateway_is_told(body: object, ask: Ask) -> None:
    with ScriptedServer(Scripted(200, body)) as server, pytest.raises(UnexpectedAnswer):
        ask(server.url, "classify", b"photo")


def test_nobody_there(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServiceUnreachable, match=str(port)):
        ask(f"http://127.0.0.1:{port}", "models")


@pytest.mark.parametrize(
    "url", ["", "nonsense", "http://", "http://[::1", "http://a:b", "ftp://a/", "http://\x00"]
)
def test_not_an_address(url: str, ask: Ask) -> None:
    with pytest.raises(ServiceUnreachable):
        ask(url, "models")


def test_time_is_limited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout_s=0.2) as client, pytest.raises(ServiceUnreachable):
            client.models()


def test_the_proxy_of_the_environment_is_not_asked_for_this_machine(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with ScriptedServer(Scripted(200, ANSWER)) as server:
        assert ask(server.url, "classify", b"photo").best.breed == "Siamese"


def test_a_photo_that_is_not_there_is_an_error_of_the_file(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ask("http://127.0.0.1:9", "classify", tmp_path / "cat.jpg")


def _errors_of_httpx() -> list[type[Exception]]:
    named = [getattr(httpx, name) for name in dir(httpx)]
    errors = [it for it in named if isinstance(it, type) and issubclass(it, Exception)]
    assert len(errors) > 20
    return errors


@pytest.mark.parametrize("kind", _errors_of_httpx(), ids=lambda kind: kind.__name__)
def test_every_error_of_httpx_is_one_of_ours(
    kind: type[Exception], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = inspect.signature(kind).parameters.values()
    required: dict[str, Any] = {
        each.name: None
        for each in parameters
        if each.kind is each.KEYWORD_ONLY and each.default is each.empty
    }
    takes_text = any(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters)
    error = kind(*(["broken"] if takes_text else []), **required)

    def fail(*_: object) -> httpx.Response:
        raise error

    async def fail_async(*_: object) -> httpx.Response:
        raise error

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", fail)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", fail_async)
    with pytest.raises(ServiceUnreachable) as mapped:
        ask("http://127.0.0.1:9", "models")
    assert mapped.value.__cause__ is error


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)
    assert inspect.signature(Client).parameters == inspect.signature(AsyncClient).parameters


def test_it_loads_nothing_of_the_server() -> None:
    code = (
        "import sys, web.client;"
        "heavy = {'torch', 'fastapi', 'serving', 'handlers', 'pydantic', 'aiohttp', 'uvicorn'};"
        "print(heavy & set(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "set()"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    ANY_JSON
    | st.fixed_dictionaries(
        {},
        optional={
            name: st.just(value) | ANY_JSON
            for name, value in (EXPLANATION | ANSWER | PROBLEM).items()
        },
    ),
    st.sampled_from([200, 400, 415, 429, 503]),
)
def test_whatever_comes_is_an_answer_or_one_of_our_errors(body: object, status: int) -> None:
    request = httpx.Request("POST", "http://127.0.0.1/")
    response = httpx.Response(status, content=json.dumps(body).encode(), request=request)
    for call in (classify_call(b""), classify_many_call([]), explain_call(b"", None), MODELS_CALL):
        with contextlib.suppress(CatbreedsError):
            call.result(response)
