"""The client of the management API, with a real TorchServe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from serving.management import (
    AlreadyRegistered,
    BadRequest,
    LoadFailed,
    ManagementClient,
    ModelNotFound,
    ModelStatus,
    NoAnswer,
    ServerFailed,
    TokenRefused,
)
from serving.settings import free_ports
from tests.archives import describe_as, pack, unpack
from tests.service import BATCHING, DEMO, R50, Service

NAME = "managed"
STARTUP_S = 120
Make = Callable[..., str]


@pytest.fixture
def client(service: Service) -> ManagementClient:
    return service.server.management()


@pytest.fixture
def make(client: ManagementClient, demo_archive: Path, tmp_path: Path) -> Iterator[Make]:
    """Puts the demo under another name and version into the model store; gives the file's name."""
    made: list[tuple[str, Path]] = []

    def make(version: str = "1.0", change: Callable[[Path], object] = lambda _: None) -> str:
        content = unpack(demo_archive, tmp_path / str(len(made)))
        describe_as(content, NAME, version)
        change(content)
        path = pack(content, demo_archive.with_name(f"{NAME}-{len(made)}.mar"), seal=True)
        made.append((version, path))
        return path.name

    yield make
    # A default goes last.
    for version, path in (*made, *made):
        with suppress(ModelNotFound, BadRequest):
            client.unregister(NAME, version)
        path.unlink(missing_ok=True)
    assert NAME not in [model.name for model in client.models()]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.05)


def register(client: ManagementClient, archive: str, version: str = "1.0") -> str:
    """TorchServe answers a moment before it calls a worker ready."""
    said = client.register(archive, STARTUP_S)
    wait_until(lambda: client.describe(NAME, version).ready)
    return said


def test_a_model_is_registered_and_described(client: ManagementClient, make: Make) -> None:
    before = datetime.now(UTC)
    archive = make()
    assert "1.0" in register(client, archive)
    status = client.describe(NAME, "1.0")
    assert (status.name, status.version, status.archive) == (NAME, "1.0", archive)
    assert (status.min_workers, status.max_workers, status.ready_workers) == (1, 1, 1)
    assert (status.batch_size, status.max_batch_delay_ms, status.response_timeout_s) == (8, 0, 60)
    assert (status.queue_pending, status.queue_remaining) == (0, 100)
    assert status.ready
    assert not status.loaded_at_startup
    (worker,) = status.workers
    assert worker.status == "READY"
    assert (worker.pid,) == status.worker_pids
    assert "model_service_worker.py" in " ".join(psutil.Process(worker.pid).cmdline())
    assert before <= worker.started <= datetime.now(UTC)
    assert worker.memory_bytes == 0


def test_a_worker_is_not_ready_before_it_is(client: ManagementClient, make: Make) -> None:
    seen: list[ModelStatus] = []
    client.register(make(), STARTUP_S)
    client.scale(NAME, "1.0", 2, 2, STARTUP_S, synchronous=False)

    def both_ready() -> bool:
        seen.append(client.describe(NAME, "1.0"))
        return seen[-1].ready and seen[-1].min_workers == 2

    wait_until(both_ready)
    for status in seen:
        assert status.ready == (status.ready_workers >= status.min_workers)
    assert len(set(seen[-1].worker_pids)) == 2


def test_workers_come_and_go(client: ManagementClient, make: Make) -> None:
    register(client, make())
    (first,) = client.describe(NAME, "1.0").worker_pids
    client.scale(NAME, "1.0", 2, 2, STARTUP_S)
    wait_until(lambda: client.describe(NAME, "1.0").ready_workers == 2)
    both = client.describe(NAME, "1.0").worker_pids
    assert len(both) == 2
    assert first in both
    client.scale(NAME, "1.0", 0, 0, STARTUP_S)
    none = client.describe(NAME, "1.0")
    assert (none.ready, none.ready_workers, none.min_workers) == (False, 0, 0)
    wait_until(lambda: not any(map(psutil.pid_exists, both)))
    with pytest.raises(ServerFailed, match="no worker") as failed:
        client.customized(NAME, "1.0")
    assert failed.value.status == 503


def test_more_workers_than_allowed_are_refused(client: ManagementClient, make: Make) -> None:
    client.register(make(), STARTUP_S)
    with pytest.raises(BadRequest, match="max_worker"):
        client.scale(NAME, "1.0", 2, 1, STARTUP_S)
    assert client.describe(NAME, "1.0").min_workers == 1


def test_one_of_two_versions_is_the_default(client: ManagementClient, make: Make) -> None:
    old, new = make("1.0"), make("2.0")
    register(client, old)
    register(client, new, "2.0")
    assert client.default_version(NAME) == "1.0"
    client.set_default(NAME, "2.0")
    assert client.default_version(NAME) == "2.0"
    assert {each.version: each.archive for each in client.describe_all(NAME)} == {
        "1.0": old,
        "2.0": new,
    }
    assert all(each.ready for each in client.describe_all(NAME))
    with pytest.raises(BadRequest, match="default version") as refused:
        client.unregister(NAME, "2.0")
    assert refused.value.status == 403
    client.unregister(NAME, "1.0")
    assert [each.version for each in client.describe_all(NAME)] == ["2.0"]
    client.unregister(NAME, "2.0")
    with pytest.raises(ModelNotFound):
        client.describe_all(NAME)


def test_all_models_are_listed_whatever_the_page(client: ManagementClient, make: Make) -> None:
    archive = make()
    client.register(archive, STARTUP_S)
    models = client.models()
    assert [model.name for model in models] == sorted([DEMO, R50, BATCHING, NAME])
    assert {model.name: model.archive for model in models}[NAME] == archive
    for page in (1, 2, 4):
        assert client.models(page) == models


def test_the_handler_shows_its_model_card(client: ManagementClient) -> None:
    card = client.customized(DEMO, "0.1")
    assert (card["name"], card["version"], card["classes"]) == (DEMO, "0.1", 67)


def test_names_and_versions_come_through_as_they_are(client: ManagementClient, make: Make) -> None:
    odd = "1.0 rc+1?x=%2F#é&"
    client.register(make(odd), STARTUP_S)
    assert client.describe(NAME, odd).version == odd
    client.scale(NAME, odd, 0, 0, STARTUP_S)
    client.set_default(NAME, odd)
    assert client.default_version(NAME) == odd
    client.unregister(NAME, odd)


@pytest.mark.parametrize("version", ["", ".", "..", "0.1/set-default", "/0.1"])
def test_no_version_leads_to_another_path(client: ManagementClient, version: str) -> None:
    """TorchServe would unregister the default version of no version at all."""
    for call in (client.unregister, client.set_default, client.describe):
        with pytest.raises(ModelNotFound) as refused:
            call(DEMO, version)
        assert refused.value.status == 404
    assert client.describe(DEMO, "0.1").ready


def test_what_is_not_there_is_not_found(client: ManagementClient) -> None:
    calls: list[Callable[[], object]] = [
        lambda: client.describe("none", "1.0"),
        lambda: client.describe(DEMO, "9.9"),
        lambda: client.describe_all("none"),
        lambda: client.default_version("none"),
        lambda: client.customized(DEMO, "9.9"),
        lambda: client.scale(DEMO, "9.9", 1, 1, STARTUP_S),
        lambda: client.set_default(DEMO, "9.9"),
        lambda: client.unregister(DEMO, "9.9"),
    ]
    for call in calls:
        with pytest.raises(ModelNotFound) as missing:
            call()
        assert missing.value.status == 404


def test_a_version_is_registered_once(client: ManagementClient, make: Make) -> None:
    register(client, make())
    pids = client.describe(NAME, "1.0").worker_pids
    with pytest.raises(AlreadyRegistered, match=r"1\.0") as refused:
        client.register(make(), STARTUP_S)
    assert refused.value.status == 409
    assert client.describe(NAME, "1.0").worker_pids == pids


@pytest.mark.parametrize("archive", ["none.mar", "../none.mar", "http://127.0.0.1/none.mar"])
def test_an_archive_that_is_not_in_the_store_does_not_load(
    client: ManagementClient, archive: str
) -> None:
    with pytest.raises(LoadFailed) as failed:
        client.register(archive, STARTUP_S)
    assert failed.value.status == 404


def test_garbage_does_not_load(client: ManagementClient, demo_archive: Path) -> None:
    garbage = demo_archive.with_name("garbage.mar")
    garbage.write_bytes(b"no zip")
    try:
        with pytest.raises(LoadFailed) as failed:
            client.register(garbage.name, STARTUP_S)
        assert failed.value.status == 400
    finally:
        garbage.unlink()


@pytest.mark.parametrize("code", ["raise SystemExit(3)\n", "raise ValueError('no')\n"])
def test_an_archive_whose_worker_does_not_start_does_not_load(
    client: ManagementClient, make: Make, code: str
) -> None:
    broken = make(change=lambda content: (content / "handlers" / "service.py").write_text(code))
    with pytest.raises(LoadFailed, match="Failed to start workers") as failed:
        client.register(broken, STARTUP_S)
    assert failed.value.status == 500
    # TorchServe forgets it or not, as it happens; it has no worker in either case.
    with suppress(ModelNotFound):
        assert client.describe(NAME, "1.0").ready_workers == 0
        with suppress(ModelNotFound), pytest.raises(LoadFailed):
            client.scale(NAME, "1.0", 1, 1, STARTUP_S)
    assert client.describe(DEMO, "0.1").ready


def test_a_wrong_token_is_told_from_a_wrong_request(service: Service) -> None:
    client = ManagementClient(service.server.management_url, lambda: "wrong")
    with pytest.raises(TokenRefused) as refused:
        client.models()
    assert refused.value.status == 400
    for key in ("wrong", service.token("management"), service.token()):
        with pytest.raises(TokenRefused):
            service.server.management().renew_token("inference", key)


def test_a_renewed_token_is_taken_up(service: Service) -> None:
    first = service.token("management")
    # The file shows the old one once more.
    tokens = iter([first])
    client = ManagementClient(
        service.server.management_url, lambda: next(tokens, None) or service.token("management")
    )
    client.renew_token("management", service.token("API"))
    assert service.token("management") != first
    assert client.describe(DEMO, "0.1").ready


def test_nobody_listening_is_no_answer() -> None:
    (port,) = free_ports(1)
    client = ManagementClient(f"http://127.0.0.1:{port}", lambda: "any")
    for call in (client.models, lambda: client.register("a.mar", 1)):
        with pytest.raises(NoAnswer, match="no answer") as error:
            call()
        assert error.value.status is None
