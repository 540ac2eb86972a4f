"""The record of calls of the management API."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import requests

from serving.audit import Call, audit_file, prepare_audit_file, read_calls
from serving.management import LoadFailed, ManagementError
from serving.server import Server
from serving.settings import Ports
from tests.archives import describe_as, pack, registered, unpack
from tests.service import DEMO, Service
from tests.serving.grpc_stubs import InferenceApi, describe, stubs

LINE = (
    '{"time":"2026-11-21T11:07:15.305Z","remote":"127.0.0.1:1","method":"%s","path":"/",'
    '"status":200}\n'
)
CAP = 10 * 1024 * 1024


@contextmanager
def calls_during(service: Service) -> Iterator[list[Call]]:
    """Filled afterwards with what was recorded meanwhile."""
    port = service.server.ports.inference
    before = len(read_calls(port))
    calls: list[Call] = []
    yield calls
    calls += read_calls(port)[before:]


def told(calls: list[Call]) -> list[tuple[str, str, int]]:
    return [(call.method, call.path, call.status) for call in calls]


def ask(
    service: Service, method: str, path: str, token: str | None, api: str = "management"
) -> requests.Response:
    url = getattr(service.server, f"{api}_url") + path
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.request(method, url, headers=headers, timeout=60)


@pytest.mark.parametrize("token", [None, "wrong-token-of-audit", "inference"])
def test_an_attempt_without_the_right_token_is_recorded(
    service: Service, token: str | None
) -> None:
    value = service.token() if token == "inference" else token
    attempts = [
        ("GET", "/models"),
        ("GET", f"/models/{DEMO}"),
        ("GET", f"/models/{DEMO}/0.1"),
        ("POST", "/models"),
        ("PUT", f"/models/{DEMO}/0.1"),
        ("PUT", f"/models/{DEMO}/0.1/set-default"),
        ("DELETE", f"/models/{DEMO}/0.1"),
        ("OPTIONS", "/models"),
        ("GET", "/token"),
    ]
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    with calls_during(service) as calls:
        for method, path in attempts:
            assert ask(service, method, f"{path}?type=management&min_worker=7", value).status_code
    assert told(calls) == [(method, path, 400) for method, path in attempts]
    for call in calls:
        assert before <= datetime.fromisoformat(call.time) <= datetime.now(UTC)
        host, port = call.remote.split(":")
        assert host == "127.0.0.1"
        assert 0 < int(port) < 65536
    written = audit_file(service.server.ports.inference).read_text()
    assert "min_worker" not in written
    assert value is None or value not in written


def test_no_token_that_was_ever_used_is_in_the_record(service: Service) -> None:
    for kind in ("inference", "management", "API"):
        ask(service, "GET", "/models", service.token(kind))
        ask(service, "DELETE", "/models/none", service.token(kind))
        ask(service, "GET", "/token?type=inference", service.token(kind))
    tokens = [service.token(kind) for kind in ("inference", "management", "API")]
    written = audit_file(service.server.ports.inference).read_text()
    assert [token for token in tokens if token in written] == []
    assert "Bearer" not in written
    service.server.renew_tokens()


def test_changes_are_recorded_and_good_reading_is_not(
    service: Service, demo_archive: Path, tmp_path: Path
) -> None:
    client = service.server.management()
    content = unpack(demo_archive, tmp_path / "content")
    describe_as(content, "audited", "1.0")
    archive = pack(content, demo_archive.with_name("audited.mar"), seal=True)
    with calls_during(service) as calls:
        with registered(service, archive, "audited", "1.0"):
            client.models()
            client.describe("audited", "1.0")
            client.customized("audited", "1.0")
            client.scale("audited", "1.0", 0, 0, 60)
            client.scale("audited", "1.0", 0, 0, 60, synchronous=False)
            client.set_default("audited", "1.0")
            with suppress(ManagementError):
                client.describe("audited", "9")
        with pytest.raises(LoadFailed):
            client.register("none.mar", 60)
    assert told(calls) == [
        ("POST", "/models", 200),
        ("PUT", "/models/audited/1.0", 200),
        ("PUT", "/models/audited/1.0", 202),
        ("PUT", "/models/audited/1.0/set-default", 200),
        ("GET", "/models/audited/9", 404),
        ("DELETE", "/models/audited/1.0", 200),
        ("POST", "/models", 404),
    ]


def test_renewed_tokens_are_recorded(service: Service) -> None:
    with calls_during(service) as calls:
        assert service.server.renew_tokens()
    assert told(calls) == [("GET", "/token", 200)] * 2


def test_predictions_are_not_recorded_good_or_bad(service: Service, cat_photo: bytes) -> None:
    with calls_during(service) as calls:
        assert service.post(f"/predictions/{DEMO}", cat_photo).status_code == 200
        assert service.post(f"/predictions/{DEMO}/0.1?top_k=1", cat_photo).status_code == 200
        for refused in (
            service.post(f"/predictions/{DEMO}", b"no photo"),
            service.post("/predictions/none", cat_photo),
            service.post(f"/v2/models/{DEMO}/infer", b"{}"),
            service.post(f"/v1/models/{DEMO}:predict", b"{}"),
        ):
            assert refused.status_code >= 400
        ask(service, "POST", f"/explanations/{DEMO}", "wrong", "inference")
        ask(service, "GET", "/ping", "wrong", "inference")
        ask(service, "GET", "/healthz", None, "inference")
        service.metrics()
        with InferenceApi(service.server.grpc, service.token()) as api:
            api.predict(DEMO, {"photo": cat_photo})
            with pytest.raises(grpc.RpcError):
                api.predict("none", {"photo": cat_photo})
    assert calls == []


@pytest.mark.parametrize("token", [None, "wrong", "inference", "management"])
def test_managing_on_the_inference_port_is_recorded(service: Service, token: str | None) -> None:
    value = service.token(token) if token in ("inference", "management") else token
    with calls_during(service) as calls:
        ask(service, "GET", "/models", value, "inference")
        ask(service, "DELETE", f"/models/{DEMO}", value, "inference")
        ask(service, "GET", "/token?type=management", value, "inference")
    assert [(call.method, call.path) for call in calls] == [
        ("GET", "/models"),
        ("DELETE", f"/models/{DEMO}"),
        ("GET", "/token"),
    ]
    assert {call.status for call in calls} == {404 if token == "inference" else 400}


def test_grpc_calls_are_recorded_by_their_names(service: Service) -> None:
    address = f"127.0.0.1:{service.server.ports.grpc_management}"
    messages, services = stubs()["management_pb2"], stubs()["management_pb2_grpc"]
    metadata = (("authorization", f"Bearer {service.token('management')}"),)
    default = messages.SetDefaultRequest(model_name=DEMO, model_version="0.1")
    with calls_during(service) as calls:
        describe(address, service.token("management"), DEMO)
        with pytest.raises(grpc.RpcError):
            describe(address, service.token("management"), "none")
        with grpc.insecure_channel(address) as channel:
            api = services.ManagementAPIsServiceStub(channel)
            api.SetDefault(default, metadata=metadata, timeout=60)
    name = "org.pytorch.serve.grpc.management.ManagementAPIsService"
    assert [(call.method, call.path, call.status == 0) for call in calls] == [
        ("gRPC", f"{name}/DescribeModel", False),
        ("gRPC", f"{name}/SetDefault", True),
    ]


@pytest.mark.parametrize(
    ("request_line", "method", "path"),
    [
        (b'GET /models/"},{"status":200} HTTP/1.1', "GET", '/models/"},{"status":200}'),
        (b'GET /models/\\"\\u0000 HTTP/1.1', "GET", '/models/\\"\\u0000'),
        (b"GET /models/\x01\x1b[2J\x7f\x85\xe9 HTTP/1.1", "GET", "/models/\x01\x1b[2J\x7f\x85\xe9"),
        (b"GET /models/%0a%22%7D${env:HOME}%m HTTP/1.1", "GET", "/models/%0a%22%7D${env:HOME}%m"),
        (b"GET /models/a#b?c HTTP/1.1", "GET", "/models/a"),
        (b"GET http://other/models?x HTTP/1.1", "GET", "http://other/models"),
        (b'F"O\\O /models/any HTTP/1.1', 'F"O\\O', "/models/any"),
        (b'GET /models/any A"B/1.1', "GET", "/models/any"),
        (b"GET /models/any thing HTTP/1.1", "GET", "/bad-request"),
        (
            b"gRPC /org.pytorch.serve.grpc.inference. HTTP/1.1",
            "gRPC",
            "/org.pytorch.serve.grpc.inference.",
        ),
    ],
)
def test_a_hostile_request_is_one_line(
    service: Service, request_line: bytes, method: str, path: str
) -> None:
    port = service.server.ports
    address = ("127.0.0.1", port.management)
    with calls_during(service) as calls, socket.create_connection(address, 10) as connection:
        connection.settimeout(10)
        connection.sendall(request_line + b"\r\nAuthorization: Bearer secret-of-audit\r\n\r\n")
        assert connection.recv(12).startswith(b"HTTP/1.1 ")
    (call,) = calls
    assert (call.method, call.path) == (method, path)
    assert 400 <= call.status < 600
    written = audit_file(port.inference).read_bytes()
    assert written.endswith(b"\n")
    assert all(json.loads(line) for line in written.split(b"\n")[:-1])
    assert b"secret-of-audit" not in written


def test_only_the_owner_reads_it(service: Service) -> None:
    path = audit_file(service.server.ports.inference)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_it_outlives_its_server_and_keeps_to_its_size(
    demo_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATBREEDS_STATE", str(tmp_path / "state 100%d é"))
    ports = Ports.free()
    path = prepare_audit_file(ports.inference)
    older = [path.with_name(f"{path.name}.{number}") for number in (1, 2)]
    full = (LINE % "FULL") * (CAP // len(LINE) + 1)
    path.write_text(full)
    older[0].write_text(LINE % "OLD")
    older[1].write_text(LINE % "OLDEST")
    with Server(demo_store, ports=ports):
        pass
    assert sorted(path.parent.iterdir()) == [path, *older]
    assert older[0].read_text().startswith(full)
    assert older[1].read_text() == LINE % "OLD"
    for each in (path, older[0]):
        assert each.stat().st_mode & 0o777 == 0o600
    calls = read_calls(ports.inference)
    assert [call.method for call in calls[:2]] == ["OLD", "FULL"]
    assert ("PUT", f"/models/{DEMO}/0.1/set-default", 200) in told(calls)
    assert "OLDEST" not in {call.method for call in calls}


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Of a server that never was."""
    monkeypatch.setenv("CATBREEDS_STATE", str(tmp_path))
    return 1


def test_without_a_server_there_are_no_calls(port: int) -> None:
    assert read_calls(port) == []
    prepare_audit_file(port)
    assert read_calls(port) == []


def test_a_torn_or_foreign_line_is_left_out(port: int) -> None:
    path = prepare_audit_file(port)
    foreign = ["", "null", "[1]", "{}", '{"status": 1}', "\x85\u2028", "[" * 100_000, "no"]
    lines = [LINE % "A", *(f"{line}\n" for line in foreign), LINE % "B", (LINE % "C")[:-9]]
    path.write_text("".join(lines))
    with path.open("ab") as file:
        file.write(b"\xff")
    calls = read_calls(port)
    assert [call.method for call in calls] == ["A", "B"]
    assert calls[0] == Call("2026-11-21T11:07:15.305Z", "127.0.0.1:1", "A", "/", 200)


def test_what_was_recorded_before_is_kept(port: int) -> None:
    path = prepare_audit_file(port)
    path.write_text(LINE % "A")
    path.chmod(0o644)
    path.parent.chmod(0o755)
    assert prepare_audit_file(port) == path
    assert len(read_calls(port)) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
