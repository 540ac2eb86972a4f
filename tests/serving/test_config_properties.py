"""Every key of config.properties does what the file says, seen from outside a running server.

The session's server runs on the file's own values. A second one, `changed`, runs on others: where
both behave as their file says, the key is what makes the difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from serving.settings import METRICS_CONFIG
from tests.answers import JSON, ask, probabilities
from tests.archives import registered
from tests.service import DEMO, R50, Service
from tests.serving.changed_server import CHANGED, DEFAULT, changed_server, pack_probe


@pytest.fixture(scope="module")
def changed(demo_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with changed_server(demo_archive, tmp_path_factory.mktemp("changed")) as service:
        yield service


@pytest.fixture(scope="module")
def probe(changed: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A model with its own handler code and requirements, and without settings."""
    archive = pack_probe(changed.server.archives[0].path, tmp_path_factory.mktemp("probe"))
    with registered(changed, archive, "probe", "1.0", initial_workers=None):
        yield


def java(service: Service) -> psutil.Process:
    return psutil.Process(service.server.pid)


def environment(service: Service) -> dict[str, str]:
    """Of the demo's worker."""
    return psutil.Process(service.worker_pid(DEMO, "0.1")).environ()


def described(service: Service, model: str) -> dict[str, Any]:
    (answer,) = service.manage("GET", f"/models/{model}").json()
    assert isinstance(answer, dict)
    return answer


def test_it_listens_on_loopback_alone(service: Service) -> None:
    sockets = java(service).net_connections("inet")
    listening = [each.laddr for each in sockets if each.status == psutil.CONN_LISTEN]
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    ports = service.server.ports
    assert {address.port for address in listening} == set(ports.__dict__.values())
    # By name: TorchServe also starts short-lived commands that look at the machine.
    workers = [service.worker_pid(DEMO, "0.1"), service.worker_pid(R50, "1.0")]
    for worker in map(psutil.Process, workers):
        assert worker.net_connections("inet") == []
    assert (DEFAULT["grpc_inference_port"], DEFAULT["grpc_management_port"]) == ("7070", "7071")
    for api, port in (("inference", 8080), ("management", 8081), ("metrics", 8082)):
        assert DEFAULT[f"{api}_address"] == f"http://127.0.0.1:{port}"


def test_every_api_but_metrics_asks_for_a_token(service: Service) -> None:
    server = service.server
    for url in (f"{server.inference_url}/ping", f"{server.management_url}/models"):
        answer = requests.get(url, timeout=10)
        assert answer.status_code == 400
        assert answer.json()["type"] == "InvalidKeyException"
    assert requests.get(f"{server.metrics_url}/metrics", timeout=10).status_code == 200


@pytest.mark.parametrize(("name", "minutes"), [("service", 60), ("changed", 5)])
def test_a_token_expires(request: pytest.FixtureRequest, name: str, minutes: int) -> None:
    service: Service = request.getfixturevalue(name)
    key_file = service.server.folder / "key_file.json"
    for kind in ("inference", "management"):
        expires = json.loads(key_file.read_text())[kind]["expiration time"]
        # Nine digits of a second are more than Python reads.
        seconds = datetime.fromisoformat(expires[:19] + "+00:00").timestamp()
        assert seconds - key_file.stat().st_mtime == pytest.approx(60 * minutes, abs=60)


def test_only_the_management_token_registers_and_unregisters(
    service: Service, demo_archive: Path, model_store: Path
) -> None:
    url = f"{service.server.management_url}/models"
    for headers in ({}, {"Authorization": f"Bearer {service.token()}"}):
        answer = requests.post(url, params={"url": "x.mar"}, headers=headers, timeout=10)
        assert answer.json()["type"] == "InvalidKeyException"
    archive = model_store / "visitor.mar"
    archive.write_bytes(demo_archive.read_bytes())
    query = {"url": archive.name, "model_name": "visitor", "initial_workers": "0"}
    try:
        assert service.manage("POST", "/models", query).status_code == 200
        assert described(service, "visitor")["modelVersion"] == "0.1"
    finally:
        archive.unlink()
        assert service.manage("DELETE", "/models/visitor/0.1").status_code == 200
    assert service.manage("GET", "/models/visitor").status_code == 404


def test_workers_do_not_get_secrets_from_the_environment(
    changed: Service, service: Service
) -> None:
    got = environment(changed)
    assert "HARMLESS" in got
    assert "NOT_THIS_ONE" not in got
    # This server's own setting lets them through, so Java has had them.
    assert {"MY_TOKEN", "aws_secret_access_key", "DB_PASSWORD"} <= set(got)
    # Nor what would lead a worker to other code or settings.
    assert not {"TS_JOB_QUEUE_SIZE", "CATBREEDS_HARMLESS", "CATBREEDS_STATE"} & set(got)
    assert str(changed.server.folder.parents[2]) not in got["PYTHONPATH"]
    secrets = ("TOKEN", "SECRET", "PASS", "KEY", "CREDENTIAL")
    names = [name.upper() for name in environment(service)]
    assert not [name for name in names if any(secret in name for secret in secrets)]


def test_a_worker_in_misleading_surroundings_uses_the_archives_code(
    changed: Service, service: Service, cat_photo: bytes
) -> None:
    """PYTHONPATH and the working directory of `changed` hold packages that cannot be imported."""
    answers = [ask(each, DEMO, cat_photo, 5)["predictions"] for each in (changed, service)]
    assert answers[0] == answers[1]


def test_another_handler_in_the_archive_answers_otherwise(
    changed: Service, probe: None, cat_photo: bytes
) -> None:
    plain = probabilities(ask(changed, DEMO, cat_photo, 3))
    capitals = probabilities(ask(changed, "probe", cat_photo, 3))
    assert capitals == {breed.upper(): probability for breed, probability in plain.items()}
    assert capitals != plain


def test_an_archive_cannot_have_packages_installed(changed: Service, probe: None) -> None:
    """The probe's requirements cannot be installed, which would have kept it from loading."""
    assert described(changed, "probe")["workers"][0]["status"] == "READY"


def test_a_model_without_settings_of_its_own_gets_the_defaults(
    changed: Service, probe: None
) -> None:
    got = described(changed, "probe")
    assert got["responseTimeout"] == 77
    assert got["startupTimeout"] == 66
    assert (got["minWorkers"], len(got["workers"])) == (2, 2)
    assert DEFAULT["default_response_timeout"] == "60"
    assert DEFAULT["default_startup_timeout"] == "120"
    assert DEFAULT["default_workers_per_model"] == "1"


def test_larger_requests_do_not_reach_the_handler(service: Service, changed: Service) -> None:
    for server, largest in ((service, int(DEFAULT["max_request_size"])), (changed, 65536)):
        refused = server.post(f"/predictions/{DEMO}", bytes(largest + 1))
        assert (refused.status_code, refused.content) == (413, b"")
        seen = server.post(f"/predictions/{DEMO}", bytes(largest))
        assert seen.headers["Content-Type"] == "application/problem+json"


def test_larger_answers_cost_the_worker(
    service: Service, changed: Service, cat_photo: bytes
) -> None:
    assert service.post(f"/explanations/{DEMO}", cat_photo).status_code == 200
    lost = changed.post(f"/explanations/{DEMO}", cat_photo)
    assert len(service.post(f"/explanations/{DEMO}", cat_photo).content) > 1500
    assert lost.status_code == 500
    # A request waits for the new worker.
    assert changed.post(f"/predictions/{DEMO}", cat_photo).status_code == 200
    # So the file's value is beyond anything that a batch of requests can ask for: 8 requests of
    # 32 photos, whose heat maps take 112 kB each at 512 px.
    assert int(DEFAULT["max_response_size"]) > 8 * 32 * 112_000 * 2


def test_json_reaches_the_handler_as_it_was_sent(service: Service, changed: Service) -> None:
    """The handler sees that a key is given twice; TorchServe's parser forgets one of them."""
    twice = b'{"image": "", "image": ""}'
    assert "twice" in service.post(f"/predictions/{DEMO}", twice, JSON).json()["detail"]
    assert "twice" not in changed.post(f"/predictions/{DEMO}", twice, JSON).json()["detail"]


def test_the_queue_is_bounded(service: Service, changed: Service) -> None:
    for server, length in ((service, 100), (changed, 3)):
        assert described(server, DEMO)["jobQueueStatus"]["remainingCapacity"] == length
    # And not the 9 of the environment variable that enable_envvars_config would let through.


def test_workers_are_reached_through_sockets_in_the_servers_own_folder(
    service: Service, changed: Service, probe: None
) -> None:
    folders = set()
    for server, first in ((service, 9000), (changed, 9500)):
        assert int(described(server, DEMO)["workers"][0]["id"]) >= first
        for worker in java(server).children():
            command = worker.cmdline()
            if "--sock-name" in command:
                socket = Path(command[command.index("--sock-name") + 1])
                assert first <= int(socket.suffix[1:]) < first + 100
                assert socket.is_socket()
                assert socket.parent.stat().st_mode & 0o777 == 0o700
                folders.add((server.server.pid, socket.parent))
    assert len(folders) == 2


def test_so_many_threads_serve_connections_and_workers(
    service: Service, changed: Service, probe: None
) -> None:
    """One each for the three addresses, and as many for connections and workers as are set."""
    for server, expected in ((service, 3 + 2 + 2), (changed, 3 + 7 + 1)):
        apis = server.server
        urls = [apis.inference_url, apis.management_url, apis.metrics_url] * 40
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda url: requests.get(url, timeout=30).status_code, urls))
        tasks = Path(f"/proc/{apis.pid}/task").glob("*/comm")
        names = [task.read_text().strip() for task in tasks]
        assert names.count("epollEventLoopG") == expected


def test_metrics_are_scraped_and_leave_the_machine_to_others(
    service: Service, changed: Service, cat_photo: bytes
) -> None:
    ask(service, DEMO, cat_photo)
    assert f'catbreeds_predicted_total{{ModelName="{DEMO}"' in service.metrics()
    assert "CPUUtilization{" not in service.metrics()
    assert "CPUUtilization{" in changed.metrics()
    command = psutil.Process(service.worker_pid(DEMO, "0.1")).cmdline()
    assert command[command.index("--metrics-config") + 1] == str(METRICS_CONFIG)


def test_java_gets_its_options(service: Service, changed: Service) -> None:
    assert {"-Xmx512m", "-XX:+ExitOnOutOfMemoryError"} <= set(java(service).cmdline())
    assert "-Xmx300m" in java(changed).cmdline()
    assert "-Xmx512m" not in java(changed).cmdline()


def test_renewed_tokens_replace_the_old_ones(changed: Service, cat_photo: bytes) -> None:
    old = {kind: changed.token(kind) for kind in ("inference", "management")}
    changed.server.renew_tokens()
    assert changed.post(f"/predictions/{DEMO}", cat_photo).status_code == 200
    assert changed.manage("GET", "/models").status_code == 200
    header = changed.server.header_file.read_text()
    assert header == f"Authorization: Bearer {changed.token()}\n"
    for kind, path in (("inference", f"/predictions/{DEMO}"), ("management", "/models")):
        assert old[kind] != changed.token(kind)
        url = getattr(changed.server, f"{kind}_url") + path
        refused = requests.get(url, headers={"Authorization": f"Bearer {old[kind]}"}, timeout=10)
        assert refused.json()["type"] == "InvalidKeyException"


def test_tokens_are_renewed_while_a_server_is_watched(
    changed: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RenewedError(Exception):
        pass

    def renewed() -> None:
        raise RenewedError

    monkeypatch.setattr(changed.server, "_token_life_s", 0.2)
    monkeypatch.setattr(changed.server, "renew_tokens", renewed)
    with pytest.raises(RenewedError):
        changed.server.watch()


# The test that checks them, and keys of the file.
CHECKS: dict[Callable[..., None], tuple[str, ...]] = {
    test_it_listens_on_loopback_alone: (
        *("inference_address", "management_address", "metrics_address"),
        *("grpc_inference_address", "grpc_inference_port"),
        *("grpc_management_address", "grpc_management_port"),
    ),
    test_every_api_but_metrics_asks_for_a_token: ("disable_token_authorization",),
    test_a_token_expires: ("token_expiration_min",),
    test_only_the_management_token_registers_and_unregisters: ("enable_model_api",),
    test_workers_do_not_get_secrets_from_the_environment: ("blacklist_env_vars",),
    test_an_archive_cannot_have_packages_installed: ("install_py_dep_per_model",),
    test_larger_requests_do_not_reach_the_handler: ("max_request_size",),
    test_larger_answers_cost_the_worker: ("max_response_size",),
    test_json_reaches_the_handler_as_it_was_sent: ("decode_input_request",),
    test_the_queue_is_bounded: ("job_queue_size", "enable_envvars_config"),
    test_a_model_without_settings_of_its_own_gets_the_defaults: (
        *("default_response_timeout", "default_startup_timeout", "default_workers_per_model"),
    ),
    test_workers_are_reached_through_sockets_in_the_servers_own_folder: ("initial_worker_port",),
    test_so_many_threads_serve_connections_and_workers: (
        *("number_of_netty_threads", "netty_client_threads"),
    ),
    test_metrics_are_scraped_and_leave_the_machine_to_others: (
        *("metrics_mode", "disable_system_metrics"),
        "metrics_config",  # added by `catbreeds serve`
    ),
    test_java_gets_its_options: ("vmargs",),
}


def test_no_key_is_left_without_a_check() -> None:
    checked = sorted(key for keys in CHECKS.values() for key in keys)
    assert checked == sorted([*DEFAULT, "metrics_config"])
    assert set(CHANGED) <= set(DEFAULT)
