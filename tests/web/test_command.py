"""`catbreeds web` as a command: what it says before it serves, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tests.serving.serve_process import CATBREEDS
from tests.web.gateway_process import GatewayProcess
from tests.web.guarded_server import Client
from tests.web.scripted_server import Scripted, ScriptedServer

_HEAD = b"POST /api/classify HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
_EXPECT = b"Expect: 100-continue\r\n\r\n"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    """Starts a gateway before something that is no TorchServe."""
    running = []
    with ScriptedServer(Scripted(404, {"code": 404, "message": "no"})) as upstream:

        def start_one(**settings: object) -> GatewayProcess:
            running.append(GatewayProcess(tmp_path, upstream.url, models="cat-breeds", **settings))
            return running[-1]

        yield start_one
        for gateway in running:
            gateway.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate's file and its key's."""
    made = trustme.CA().issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    made.cert_chain_pems[0].write_to_path(chain)
    made.private_key_pem.write_to_path(key)
    return chain, key


def connect(gateway: GatewayProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), 20)


def end(gateway: GatewayProcess, number: int) -> int:
    process = gateway.process
    process.send_signal(number)
    # Not `stop`: its own signal might come when the gateway listens to none any more.
    return int(process.wait(60))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_no_failure(number: int, start: Callable[..., GatewayProcess]) -> None:
    gateway = start()
    with connect(gateway) as idle, connect(gateway) as silent:
        idle.sendall(_HEALTH)
        assert b"alive" in Client(idle).answer()[0]
        assert end(gateway, number) == 0
        for client in (idle, silent):
            assert client.recv(65536) == b""
    assert "Traceback" not in gateway.log()
    assert "ERROR" not in gateway.log()


def test_a_request_in_work_is_answered_first(start: Callable[..., GatewayProcess]) -> None:
    gateway = start()
    with connect(gateway) as client:
        client.sendall(_HEAD + _EXPECT)
        # It is told when the gateway waits for the body.
        assert b" 100 Continue" in client.recv(65536)
        process = gateway.process
        process.send_signal(signal.SIGTERM)
        gateway.wait_for(lambda: not listens(process))
        client.sendall(b"xxx")
        answer = Client(client).received()
    assert answer.startswith(b"HTTP/1.1 ")
    assert b"request_id" in answer
    assert b"connection: close" in answer
    assert process.wait(60) == 0


def listens(process: psutil.Process) -> bool:
    return any(each.status == psutil.CONN_LISTEN for each in process.net_connections("tcp"))


def test_https_clients_that_sleep_do_not_hold_a_stop(
    start: Callable[..., GatewayProcess], certificate: tuple[Path, Path]
) -> None:
    gateway = start(certificate=certificate[0], private_key=certificate[1])
    assert gateway.url.startswith("https:")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with connect(gateway), context.wrap_socket(connect(gateway)) as idle:
        idle.sendall(_HEALTH)
        assert b"alive" in Client(idle).answer()[0]
        # uvicorn says so when its patience is at its end.
        assert end(gateway, signal.SIGTERM) == 0
    assert "timeout graceful shutdown exceeded" not in gateway.log()


def refused(tmp_path: Path, **settings: object) -> str:
    """What the command says when it does not start."""
    named = {f"CATBREEDS_WEB_{name.upper()}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        (str(CATBREEDS), "web"),
        env=os.environ | {"CATBREEDS_WEB_PORT": "0"} | named,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout
    (line,) = done.stdout.splitlines()
    return line.removeprefix("error: ")


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = refused(tmp_path, port=port)
    assert told == f"port {port} (gateway) is taken: Address already in use"


@pytest.mark.parametrize(
    "host", ["203.0.113.7", "2001:db8::7", "no-such-host.invalid", "a" * 70, "ä" * 70, "a b"]
)
def test_a_host_that_is_not_here_is_told(tmp_path: Path, host: str) -> None:
    told = refused(tmp_path, host=host, plain_http=True)
    assert told.startswith(f"CATBREEDS_WEB_HOST={host}: ")


@pytest.mark.parametrize(
    ("chain", "key", "told"),
    [
        ("none.pem", "key.pem", "CERTIFICATE=none.pem: No such file or directory"),
        ("chain.pem", "none.pem", "PRIVATE_KEY=none.pem: No such file or directory"),
        (".", "key.pem", "CERTIFICATE=.: Is a directory"),
        ("empty.pem", "key.pem", "CERTIFICATE=empty.pem: holds no PEM certificate"),
        ("key.pem", "key.pem", "CERTIFICATE=key.pem: holds no PEM certificate"),
        ("chain.pem", "empty.pem", "PRIVATE_KEY=empty.pem: holds no PEM key"),
        ("chain.pem", "chain.pem", "PRIVATE_KEY=chain.pem: holds no PEM key"),
        (
            "chain.pem",
            "other.pem",
            "PRIVATE_KEY=other.pem: is not the key of the certificate chain.pem",
        ),
        (
            "chain.pem",
            "locked.pem",
            "PRIVATE_KEY=locked.pem: needs a password; give it without one",
        ),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told(
    tmp_path: Path, certificate: tuple[Path, Path], chain: str, key: str, told: str
) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")
    trustme.CA().issue_cert("a").private_key_pem.write_to_path(tmp_path / "other.pem")
    (tmp_path / "locked.pem").write_bytes(locked(certificate[1].read_bytes()))
    assert refused(tmp_path, certificate=chain, private_key=key) == f"CATBREEDS_WEB_{told}"


def locked(key: bytes) -> bytes:
    """The same key behind a password."""
    loaded = serialization.load_pem_private_key(key, None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
