"""The client that the commands use, and a new version on trial."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.inference import InferenceClient, ServiceError
from tests.canaries import BOTH, NEW, announced, canary, scale, served_beside
from tests.service import DEMO, Service

Client = Callable[[str | None], InferenceClient]


@pytest.fixture(scope="module", autouse=True)
def new_version(
    service: Service, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Version 0.2 of the demo is served as well; 0.1 is the default."""
    with served_beside(service, model_store, tmp_path_factory.mktemp("new")):
        yield


@pytest.fixture
def client(service: Service) -> Client:
    """Makes clients of TorchServe itself."""
    url = service.server.inference_url
    return lambda name: InferenceClient(url, service.token, client=name)


def test_a_running_client_follows_the_canary(
    service: Service, client: Client, cat_photo: bytes
) -> None:
    asking = client(None)
    assert asking.predict(cat_photo, DEMO).version == "0.1"
    with announced(service, **BOTH, **canary()):
        assert asking.predict(cat_photo, DEMO).version == NEW
        assert asking.predict(cat_photo, DEMO, "0.1").version == "0.1"
    assert asking.predict(cat_photo, DEMO).version == "0.1"
    with announced(service, **BOTH, **canary(until=1.0)):
        assert asking.predict(cat_photo, DEMO).version == "0.1"


def test_each_client_stays_with_its_version(
    service: Service, client: Client, cat_photo: bytes
) -> None:
    names = [f"user{n}@host" for n in range(16)]
    with announced(service, **BOTH, **canary(share=0.5)):
        got, again = (
            [client(name).predict(cat_photo, DEMO).version for name in names] for _ in range(2)
        )
        here = f"{getpass.getuser()}@{socket.gethostname()}"
        unnamed, named = (client(name).predict(cat_photo, DEMO) for name in (None, here))
    assert got == again
    assert set(got) == {"0.1", NEW}
    assert unnamed.version == named.version


def test_a_user_without_a_name_is_a_client_too(
    service: Service, client: Client, cat_photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container under any user id."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    with announced(service, **BOTH, **canary()):
        assert client(None).predict(cat_photo, DEMO).version == NEW


def test_where_the_canary_is_gone_or_fails_the_default_answers(
    service: Service, client: Client, cat_photo: bytes
) -> None:
    with announced(service, **canary(version="7.7")):
        assert client(None).predict(cat_photo, DEMO).version == "0.1"
        with pytest.raises(ServiceError, match="404"):
            client(None).predict(cat_photo, DEMO, "7.7")
    scale(service, NEW, 0)
    try:
        with announced(service, **BOTH, **canary()):
            assert client(None).predict(cat_photo, DEMO).version == "0.1"
    finally:
        scale(service, NEW, 1)


def test_a_photo_that_is_none_is_no_reason_to_ask_again(service: Service, client: Client) -> None:
    with announced(service, **BOTH, **canary()), pytest.raises(ServiceError, match="415"):
        client(None).predict(b"no photo", DEMO)
