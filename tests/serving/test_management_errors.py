"""The client of the management API where TorchServe is gone, slow, or talks nonsense."""

from __future__ import annotations

import json
import logging
import socket
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import pytest

from serving.management import (
    AlreadyRegistered,
    BadRequest,
    LoadFailed,
    ManagementClient,
    ManagementError,
    ModelNotFound,
    NoAnswer,
    ServerFailed,
    TokenRefused,
    UnexpectedAnswer,
)
from serving.state import TokenError

SECRET = "c2VjcmV0"
Call = Callable[[ManagementClient], object]
CALLS: dict[str, Call] = {
    "register": lambda client: client.register("a.mar", 5),
    "describe": lambda client: client.describe("m", "1"),
    "describe_all": lambda client: client.describe_all("m"),
    "default_version": lambda client: client.default_version("m"),
    "customized": lambda client: client.customized("m", "1"),
    "models": lambda client: client.models(),
    "scale": lambda client: client.scale("m", "1", 1, 1, 5),
    "set_default": lambda client: client.set_default("m", "1"),
    "unregister": lambda client: client.unregister("m", "1"),
    "renew_token": lambda client: client.renew_token("inference", SECRET),
}
# Those that may be done twice.
REPEATED = sorted(CALLS.keys() - {"register"})
# The other one says nothing when all is well.
ANSWERED = sorted(CALLS.keys() - {"renew_token"})
STATUS = {
    "modelName": "m",
    "modelVersion": "1",
    "modelUrl": "a.mar",
    "minWorkers": 0,
    "maxWorkers": 0,
    "batchSize": 1,
    "maxBatchDelay": 1,
    "responseTimeout": 1,
    "loadedAtStartup": False,
    "workers": [],
    "jobQueueStatus": {"remainingCapacity": 1, "pendingRequests": 0},
    "customizedMetadata": {"name": "m"},
}
GOOD: dict[str, Any] = {name: {"status": "done"} for name in CALLS} | {
    "describe": [STATUS],
    "describe_all": [STATUS],
    "default_version": [STATUS],
    "customized": [STATUS],
    "models": {"models": []},
    "renew_token": b"",
}
BREAK = b""


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    token: str


@dataclass(frozen=True)
class Silence:
    """No more than this, in a connection that stays open."""

    after: bytes = b""


class Answers:
    """A server that gives the raw answers it is told, one a connection, and then closes it.

    `BREAK` closes it without a word, `Silence` keeps it open.
    """

    def __init__(self, *answers: bytes | Silence) -> None:
        self._answers = list(answers)
        self.asked: list[Asked] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._silent: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._server, *self._silent):
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            method, path, _ = head.decode().split("\r\n")[0].split(" ")
            token = head.decode().partition("Authorization: Bearer ")[2].partition("\r\n")[0]
            self.asked.append(Asked(method, path, token))
            answer = self._answers.pop(0) if self._answers else BREAK
            if isinstance(answer, Silence):
                connection.sendall(answer.after)
                self._silent.append(connection)
                continue
            connection.sendall(answer)
            connection.close()


def answer(body: object, status: int = 200) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(content), content)


def refusal(status: int, kind: str, message: str = "no") -> bytes:
    return answer({"code": status, "type": kind, "message": message}, status)


def client(server: Answers, token: Callable[[], str] = lambda: SECRET) -> ManagementClient:
    return ManagementClient(server.url, token, timeout_s=5)


@pytest.mark.parametrize(
    ("name", "status", "kind", "error"),
    [
        *((name, 400, "InvalidKeyException", TokenRefused) for name in CALLS),
        ("describe", 404, "ModelNotFoundException", ModelNotFound),
        ("unregister", 404, "ModelVersionNotFoundException", ModelNotFound),
        ("scale", 404, "ModelVersionNotFoundException", ModelNotFound),
        ("register", 409, "ConflictStatusException", AlreadyRegistered),
        ("register", 404, "ModelNotFoundException", LoadFailed),
        ("register", 400, "InvalidModelException", LoadFailed),
        ("register", 500, "InternalServerException", LoadFailed),
        ("register", 507, "OutOfMemoryError", LoadFailed),
        ("scale", 500, "InternalServerException", LoadFailed),
        ("register", 400, "BadRequestException", BadRequest),
        ("register", 405, "MethodNotAllowedException", BadRequest),
        ("scale", 400, "BadRequestException", BadRequest),
        ("unregister", 403, "InvalidModelVersionException", BadRequest),
        ("unregister", 408, "RequestTimeoutException", BadRequest),
        ("describe", 500, "InternalServerException", ServerFailed),
        ("customized", 503, "ServiceUnavailableException", ServerFailed),
        ("set_default", 500, "NullPointerException", ServerFailed),
    ],
)
def test_a_refusal_is_told_as_what_it_is(
    name: str, status: int, kind: str, error: type[ManagementError]
) -> None:
    with (
        Answers(refusal(status, kind, "says why")) as server,
        pytest.raises(ManagementError, match="says why") as raised,
    ):
        CALLS[name](client(server))
    assert type(raised.value) is error
    assert raised.value.status == status
    assert len(server.asked) == 1


NONSENSE: list[object] = [b"<html>", b"", b"\xff", [], {}, [[]], {"models": 3}, "null"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (name, body)
        for name in ANSWERED
        for body in NONSENSE
        # Of a model whose last version is just being removed.
        if (name, body) != ("describe_all", [])
    ],
)
def test_nonsense_is_not_taken_for_an_answer(name: str, body: object) -> None:
    with Answers(answer(body)) as server, pytest.raises(UnexpectedAnswer) as raised:
        CALLS[name](client(server))
    assert raised.value.status == 200
    assert len(server.asked) == 1


def test_nonsense_of_a_broken_server_is_its_failure() -> None:
    bodies: list[object] = [b"<html>", [], {"message": None}, {"type": ["InvalidKeyException"]}]
    for body in bodies:
        with (
            Answers(answer(body, 500)) as server,
            pytest.raises(ServerFailed, match="HTTP 500") as raised,
        ):
            client(server).models()
        assert raised.value.status == 500


TORN = answer({"models": []})[:-2]


@pytest.mark.parametrize("name", REPEATED)
@pytest.mark.parametrize("broken", [BREAK, TORN])
def test_a_broken_connection_is_tried_twice_more(name: str, broken: bytes) -> None:
    with Answers(broken, broken, answer(GOOD[name])) as server:
        CALLS[name](client(server))
    assert len(server.asked) == 3
    assert len(set(server.asked)) == 1
    with (
        Answers(broken, broken, broken, answer(GOOD[name])) as server,
        pytest.raises(NoAnswer, match="no answer") as raised,
    ):
        CALLS[name](client(server))
    assert raised.value.status is None
    assert len(server.asked) == 3


@pytest.mark.parametrize("broken", [BREAK, TORN])
def test_registering_is_never_repeated(broken: bytes) -> None:
    """It might find itself registered, and take that for somebody else's doing."""
    with Answers(broken, answer(GOOD["register"])) as server, pytest.raises(NoAnswer):
        CALLS["register"](client(server))
    assert [each.method for each in server.asked] == ["POST"]


def test_what_is_gone_at_the_second_try_was_unregistered() -> None:
    gone = refusal(404, "ModelVersionNotFoundException")
    with Answers(BREAK, gone) as server:
        client(server).unregister("m", "1")
    assert [each.method for each in server.asked] == ["DELETE", "DELETE"]
    with Answers(gone) as server, pytest.raises(ModelNotFound):
        client(server).unregister("m", "1")
    with Answers(BREAK, gone) as server, pytest.raises(ModelNotFound):
        client(server).set_default("m", "1")


@pytest.mark.parametrize("after", [b"", TORN])
@pytest.mark.parametrize("name", CALLS)
def test_silence_ends_with_the_time_and_is_not_repeated(name: str, after: bytes) -> None:
    with Answers(Silence(after), answer(GOOD[name])) as server:
        impatient = ManagementClient(server.url, lambda: SECRET, timeout_s=0.2)
        quick: dict[str, Call] = {
            "register": lambda client: client.register("a.mar", 0.2),
            "scale": lambda client: client.scale("m", "1", 1, 1, 0.2),
        }
        with pytest.raises(NoAnswer, match="Timeout") as raised:
            quick.get(name, CALLS[name])(impatient)
    assert raised.value.status is None
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", ANSWERED)
def test_a_refused_token_is_read_again(name: str) -> None:
    """Also to register: what was refused has done nothing."""
    # It takes a moment until the new one is in the file.
    tokens = iter(["old", "old", "old", "new"])
    refused = refusal(400, "InvalidKeyException")
    with Answers(refused, answer(GOOD[name])) as server:
        CALLS[name](client(server, lambda: next(tokens)))
    assert [each.token for each in server.asked] == ["old", "new"]


def test_a_new_token_that_is_refused_as_well_is_enough() -> None:
    tokens = iter(["old", "new", "newer"])
    refused = refusal(400, "InvalidKeyException")
    with Answers(refused, refused, answer(GOOD["models"])) as server, pytest.raises(TokenRefused):
        client(server, lambda: next(tokens)).models()
    assert [each.token for each in server.asked] == ["old", "new"]


def test_a_half_written_token_file_is_read_again() -> None:
    read: list[None] = []

    def token() -> str:
        read.append(None)
        if len(read) < 4:
            raise TokenError("holds no management key")
        return SECRET

    with Answers(answer(GOOD["models"])) as server:
        client(server, token).models()
    assert [each.token for each in server.asked] == [SECRET]


def test_without_a_token_nothing_is_asked() -> None:
    def token() -> str:
        raise TokenError("no such file")

    with Answers() as server, pytest.raises(TokenError, match="no such file"):
        client(server, token).models()
    assert server.asked == []


@pytest.mark.parametrize("name", CALLS)
def test_no_token_is_told(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not even where the answer repeats it."""
    caplog.set_level(logging.DEBUG)
    told = []
    for status, kind in ((400, "InvalidKeyException"), (500, "Error"), (404, "Error")):
        with Answers(refusal(status, kind, f"Authorization: Bearer {SECRET}")) as server:
            asking = client(server)
            with pytest.raises(ManagementError, match=r"Bearer \[token\]") as raised:
                CALLS[name](asking)
        told += ["".join(traceback.format_exception(raised.value)), repr(raised.value)]
        told += [repr(asking), server.asked[0].path]
        assert server.asked[0].token == SECRET
        assert [text for text in (*told, caplog.text) if SECRET in text] == []


def test_a_path_that_is_not_one_is_told_without_asking() -> None:
    with Answers() as server, pytest.raises(ModelNotFound, match="called 'a/b'"):
        client(server).describe("a/b", "1")
    assert server.asked == []
