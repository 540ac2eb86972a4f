"""`catbreeds serve` from start to end, as a user runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
from pathlib import Path

import psutil
import pytest
import requests

from serving.gateway import Gateway
from serving.settings import free_ports
from tests.answers import JSON
from tests.service import DEMO, Service
from tests.serving.serve_process import ServeProcess, Start, assert_one_error
from training.drawn_cats import CLASSES


def keys(served: ServeProcess) -> dict[str, str]:
    (key_file,) = served.state.rglob("key_file.json")
    return {kind: entry["key"] for kind, entry in json.loads(key_file.read_text()).items()}


def printed_command(served: ServeProcess, name: str) -> str:
    """The line of the output that starts with that command."""
    lines = [line.strip() for line in served.stdout().splitlines()]
    (line,) = [line for line in lines if line.partition(" ")[0].endswith(name)]
    return line


def run(served: ServeProcess, command: str) -> subprocess.CompletedProcess[str]:
    """A command line, pasted into a shell."""
    return subprocess.run(  # noqa: S602 - pasting is what it is about
        command,
        shell=True,
        env=served.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_prints_where_everything_is(served: ServeProcess) -> None:
    assert f"Ready: {DEMO} 0.1" in served.stdout()
    token = {"Authorization": f"Bearer {keys(served)['management']}"}
    models = requests.get(f"{served.url('management')}/models", headers=token, timeout=10)
    assert [each["modelName"] for each in models.json()["models"]] == [DEMO]
    assert requests.get(f"{served.url('metrics')}/metrics", timeout=10).status_code == 200
    match = re.search(r"gRPC +127\.0\.0\.1:([0-9]+)", served.stdout())
    assert match
    socket.create_connection(("127.0.0.1", int(match[1])), timeout=10).close()
    match = re.search(r"tokens +(\S+)", served.stdout())
    assert match
    assert Path(match[1]).is_file()


def test_the_printed_curl_line_works_as_pasted(served: ServeProcess) -> None:
    done = run(served, printed_command(served, "curl"))
    assert done.returncode == 0, done.stderr
    best = json.loads(done.stdout)["predictions"][0]
    assert best["breed"] in CLASSES
    assert best["probability"] > 0.5


def test_the_printed_predict_line_works_as_pasted(served: ServeProcess) -> None:
    done = run(served, printed_command(served, "catbreeds"))
    assert done.returncode == 0, done.stderr
    assert "example.png" in done.stdout
    assert "%" in done.stdout


def test_the_record_names_the_process_to_stop(served: ServeProcess) -> None:
    (record,) = served.state.rglob("server.json")
    assert json.loads(record.read_text())["pid"] == served.pid


def test_no_token_is_printed_or_given_as_an_argument(served: ServeProcess) -> None:
    secrets = keys(served).values()
    assert len(set(secrets)) == 3
    shown = [served.stdout(), served.stderr()]
    for process in served.family():
        shown += [*process.cmdline(), *process.environ().values()]
    assert not [text for text in shown for secret in secrets if secret in text]


def test_only_the_owner_reads_what_it_keeps(served: ServeProcess) -> None:
    files = [path for path in served.state.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "key_file.json",
        "inference.header",
        "server.json",
        "status.json",
        "example.png",
        f"{served.url('predictions').rpartition(':')[2]}.jsonl",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in files} == {0o700}
    # Workers' sockets and unpacked archives.
    assert {stat.S_IMODE(path.stat().st_mode) for path in served.temp.iterdir()} == {0o700}


def test_every_log_line_is_json_and_holds_no_photo(served: ServeProcess, cat_photo: bytes) -> None:
    """A form that TorchServe cannot read makes it log an exception that quotes the body."""
    headers = {"Authorization": f"Bearer {keys(served)['inference']}"}
    route = f"{served.url('predictions')}/predictions/{DEMO}"
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data; boundary="):
        typed = headers | {"Content-Type": content_type}
        assert requests.post(route, cat_photo, headers=typed, timeout=10).status_code == 500
    assert requests.post(route, b"{", headers=headers | JSON, timeout=10).status_code == 400
    served.wait_for("Bad string")
    served.wait_for("StringIndexOutOfBounds")
    ours = "catbreeds: "
    lines = [line for line in served.stderr().splitlines() if not line.startswith(ours)]
    events = [json.loads(line) for line in lines]
    assert all(set(event) == {"time", "level", "logger", "message"} for event in events)
    assert "JFIF" not in served.stderr()


def test_sigterm_leaves_nothing_behind(start: Start) -> None:
    process = start("--free-ports")
    process.wait_until_ready()
    assert len(process.family()) >= 3
    ports = {
        address.laddr.port
        for address in process.java().net_connections("inet")
        if address.status == psutil.CONN_LISTEN
    }
    assert len(ports) == 5
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 0
    assert process.gone() == []
    assert process.leftovers() == []
    assert "Traceback" not in process.stderr()
    assert process.stderr().splitlines()[-1] == "catbreeds: stopped"
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["starting TorchServe", "loading"])
def test_a_start_can_be_interrupted(
    start: Start, signal_number: signal.Signals, stage: str
) -> None:
    process = start("--free-ports")
    process.wait_for(f"catbreeds: {stage}")
    process.send(signal_number)
    assert process.wait() == 0
    assert process.gone() == []
    assert process.leftovers() == []
    assert "Traceback" not in process.stderr()
    assert "Ready" not in process.stdout()


def test_a_killed_serve_takes_java_and_workers_with_it(start: Start) -> None:
    process = start("--free-ports")
    process.wait_until_ready()
    assert len(process.family()) >= 3
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert process.gone() == []


def test_the_page_is_served_and_answers(served: ServeProcess, cat_photo: bytes) -> None:
    page = served.url("page")
    assert requests.get(page, timeout=10).status_code == 200
    answer = requests.post(f"{page}/api/classify", cat_photo, timeout=10).json()
    assert answer["model"] == DEMO


def test_a_gateway_that_dies_ends_serve_with_one_line(start: Start) -> None:
    process = start("--free-ports")
    process.wait_until_ready()
    (gateway,) = [each for each in process.family() if "web" in each.cmdline()]
    gateway.kill()
    assert process.wait() == 1
    assert_one_error(process.stderr(), "gateway ended by itself", "exit code -9")
    assert process.gone() == []
    assert process.leftovers() == []


def test_there_can_be_no_page(start: Start) -> None:
    process = start("--free-ports", "--no-web")
    process.wait_until_ready()
    assert "page " not in process.stdout()
    assert [each for each in process.family() if "web" in each.cmdline()] == []


def test_a_java_that_dies_ends_serve_with_one_line(start: Start) -> None:
    process = start("--free-ports")
    process.wait_until_ready()
    process.java().kill()
    assert process.wait() == 1
    assert_one_error(process.stderr(), "TorchServe ended by itself", "exit code -9")
    assert process.gone() == []
    assert process.leftovers() == []


def test_settings_for_other_gateways_do_not_harm_its_own(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATBREEDS_WEB_CERTIFICATE", "/nowhere/chain.pem")
    monkeypatch.setenv("CATBREEDS_WEB_PRIVATE_KEY", "/nowhere/key.pem")
    monkeypatch.setenv("CATBREEDS_WEB_HOST", "192.0.2.1")
    (port,) = free_ports(1)
    with Gateway(service.server.inference_url, port, "plain") as gateway:
        assert requests.get(f"{gateway.url}/readyz", timeout=10).ok
