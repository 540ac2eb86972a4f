"""What a token opens, and where tokens are."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import requests

from serving import state
from serving.inference import InferenceClient
from serving.server import Server
from serving.settings import DEFAULT_CONFIG, Ports, read_properties
from tests.service import DEMO, Service
from tests.serving.serve_process import ServeProcess

KINDS = ("inference", "management", "API")
MANAGING = [
    ("GET", "/models"),
    ("GET", "/models?limit=1&next_page_token=0"),
    ("GET", f"/models/{DEMO}"),
    ("GET", f"/models/{DEMO}/0.1"),
    ("GET", f"/models/{DEMO}/all"),
    ("GET", f"/models/{DEMO}/0.1?customized=true"),
    ("OPTIONS", "/models"),
    ("OPTIONS", f"/models/{DEMO}"),
    ("POST", f"/models?url={DEMO}-0.1.mar&model_name=stolen&initial_workers=1&synchronous=true"),
    ("PUT", f"/models/{DEMO}?min_worker=0&max_worker=0&synchronous=true"),
    ("PUT", f"/models/{DEMO}/0.1?min_worker=2&max_worker=2&synchronous=true"),
    ("PUT", f"/models/{DEMO}/0.1/set-default"),
    ("DELETE", f"/models/{DEMO}"),
    ("DELETE", f"/models/{DEMO}/0.1"),
    ("PATCH", f"/models/{DEMO}/0.1"),
    ("GET", f"/v1/models/{DEMO}"),
    ("GET", "/token?type=management"),
    ("GET", "/token?type=inference"),
    ("POST", "/token?type=management"),
    ("GET", "/models?/token&type=management"),
    ("GET", "//models"),
    ("GET", "/%6dodels"),
]
# Forms of the header, given a token that is none of the management API's.
FORMS: dict[str, Callable[[str], dict[str, str]]] = {
    "none": lambda _: {},
    "bearer": lambda token: {"Authorization": f"Bearer {token}"},
    "two": lambda token: {"Authorization": f"Bearer {token} {token}"},
    "basic": lambda token: {"Authorization": f"Basic {token}"},
    "empty": lambda _: {"Authorization": "Bearer "},
    "another header": lambda token: {"Token": token, "X-Authorization": f"Bearer {token}"},
}


@pytest.fixture(scope="module", autouse=True)
def minute(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server whose tokens live for a minute and are not renewed; its minute runs meanwhile."""
    folder = tmp_path_factory.mktemp("minute")
    config = folder / "minute.properties"
    properties = read_properties(DEFAULT_CONFIG) | {"token_expiration_min": "1"}
    config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATBREEDS_STATE", str(folder / "state"))
        server = Server(demo_store, config, Ports.free())
    with server:
        yield Service(server)


def keys(service: Service) -> dict[str, dict[str, str]]:
    """The file's content."""
    content: dict[str, dict[str, str]] = json.loads(
        (service.server.folder / "key_file.json").read_text()
    )
    return content


def standing(service: Service) -> object:
    """What no refused call may change; needs the right token."""
    client = service.server.management()
    models = [model.name for model in client.models()]
    described = {name: client.describe_all(name) for name in models}
    assert all(each.ready for versions in described.values() for each in versions)
    defaults = {name: client.default_version(name) for name in models}
    return described, defaults, keys(service)


def assert_nothing(url: str, headers: dict[str, str], statuses: set[int]) -> None:
    """That no way of managing answers anything but a refusal."""
    for method, path in MANAGING:
        # As one string, since requests would tidy up the path.
        request = requests.Request(method, url, headers=headers).prepare()
        request.url = url + path
        with requests.Session() as session:
            answer = session.send(request, timeout=60)
        assert answer.status_code in statuses, (method, path)
        told = answer.json()
        assert told.keys() == {"code", "type", "message"}, (method, path)
        assert DEMO not in told["message"].replace(path, "")


@pytest.mark.parametrize("token", ["wrong", "inference"])
@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_managed_without_the_management_token(
    service: Service, form: str, token: str
) -> None:
    before = standing(service)
    value = service.token() if token == "inference" else "wrong-one"
    assert_nothing(service.server.management_url, FORMS[form](value), {400})
    assert standing(service) == before


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_nothing_is_managed_on_the_inference_port(service: Service, kind: str | None) -> None:
    """Not even with all keys: it takes only the inference token, and has no such paths."""
    before = standing(service)
    headers = FORMS["bearer"](service.token(kind)) if kind else {}
    statuses = {404, 405} if kind == "inference" else {400}
    assert_nothing(service.server.inference_url, headers, statuses)
    assert standing(service) == before


def test_the_api_key_renews_tokens_and_no_more(service: Service) -> None:
    before = standing(service)
    url, headers = service.server.management_url, FORMS["bearer"](service.token("API"))
    for method, path in MANAGING:
        if "/token" not in path:
            assert (
                requests.request(method, url + path, headers=headers, timeout=60).status_code == 400
            )
    assert standing(service) == before


def test_renewing_refuses_no_call(service: Service, cat_photo: bytes) -> None:
    """While both kinds of clients go on calling, and read the file that is being replaced."""
    folder = service.server.folder
    inference = InferenceClient(
        service.server.inference_url, lambda: state.read_token(folder, "inference")
    )
    management = service.server.management()
    calls: list[Callable[[], object]] = [
        *[lambda: inference.predict(cat_photo, DEMO)] * 2,
        *[lambda: management.describe(DEMO, "0.1")] * 2,
    ]
    done = [0] * len(calls)
    stop = threading.Event()

    def go_on(number: int) -> None:
        while not stop.is_set():
            calls[number]()
            done[number] += 1

    seen = {service.token("management")}
    with ThreadPoolExecutor(len(calls)) as threads:
        running = [threads.submit(go_on, number) for number in range(len(calls))]
        try:
            for _ in range(8):
                assert service.server.renew_tokens()
                seen.add(service.token("management"))
                # Each one has got through with the new tokens before the next are made.
                goal = [count + 3 for count in done]
                while any(count < least for count, least in zip(done, goal, strict=True)):
                    assert not any(each.done() for each in running), running
                    time.sleep(0.01)
        finally:
            stop.set()
        for each in running:
            each.result()
    assert len(seen) == 9


def test_files_with_tokens_are_their_owners(service: Service) -> None:
    for _ in range(2):
        files = [path for path in service.server.folder.iterdir() if holds_token(path, service)]
        assert sorted(path.name for path in files) == ["inference.header", "key_file.json"]
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        assert service.server.folder.stat().st_mode & 0o777 == 0o700
        assert service.server.renew_tokens()


def holds_token(path: Path, service: Service) -> bool:
    tokens = [service.token(kind).encode() for kind in KINDS]
    content = path.read_bytes()
    return any(token in content for token in tokens)


def test_no_token_is_with_a_process_or_in_its_log(served: ServeProcess, cat_photo: bytes) -> None:
    (key_file,) = served.state.rglob("key_file.json")
    management = served.url("management")
    seen: set[str] = set()

    def tokens() -> dict[str, str]:
        found = {kind: each["key"] for kind, each in json.loads(key_file.read_text()).items()}
        seen.update(found.values())
        return found

    # The renewed ones as well, and those that were refused.
    for kind in ("inference", "management"):
        renewal = {"Authorization": f"Bearer {tokens()['API']}"}
        requests.get(f"{management}/token?type={kind}", headers=renewal, timeout=60)
        refused = {"Authorization": f"Bearer {tokens()['inference']}"}
        for method, path in MANAGING:
            requests.request(method, management + path, headers=refused, timeout=60)
    url = served.url("predictions")
    InferenceClient(url, lambda: tokens()["inference"]).predict(cat_photo, DEMO)
    broken = {"Authorization": f"Bearer {tokens()['inference']}"}
    requests.post(f"{url}/predictions/{DEMO}", b"no photo", headers=broken, timeout=60)
    assert len(seen) == 5
    for process in served.family():
        with suppress(psutil.NoSuchProcess):
            told = [*process.cmdline(), *process.environ().values()]
            assert [text for text in told if any(token in text for token in seen)] == [], process
    log = served.stdout() + served.stderr()
    assert [token for token in seen if token in log] == []
    for file in [*served.state.rglob("*"), *served.temp.rglob("*")]:
        if file.is_file() and file not in (key_file, key_file.with_name("inference.header")):
            content = file.read_bytes()
            assert [token for token in seen if token.encode() in content] == [], file


def test_expired_tokens_open_nothing(minute: Service, cat_photo: bytes) -> None:
    before = keys(minute)
    expires = max(
        datetime.fromisoformat(before[kind]["expiration time"])
        for kind in ("inference", "management")
    )
    java = psutil.Process(minute.server.pid)
    workers = java.children(recursive=True)
    while datetime.now(UTC) <= expires:
        time.sleep(0.2)
    for kind in ("management", "inference"):
        headers = FORMS["bearer"](minute.token(kind))
        assert_nothing(minute.server.management_url, headers, {400})
        assert_nothing(minute.server.inference_url, headers, {400})
    assert minute.post(f"/predictions/{DEMO}", cat_photo).status_code == 400
    assert keys(minute) == before
    assert java.children(recursive=True) == workers
    # The key that renews them does not expire.
    assert minute.server.renew_tokens()
    assert minute.server.management().describe(DEMO, "0.1").ready
    assert minute.post(f"/predictions/{DEMO}", cat_photo).status_code == 200
