"""A second version beside the default, and what `server.json` says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving import state
from serving.traffic import Canary
from tests.archives import registered
from tests.service import DEMO, Service
from tests.serving.rollout.versions import make_version

NEW = "0.2"
BOTH = {"models": {DEMO: ["0.1", NEW]}}


def canary(share: float = 1.0, until: float = 1e12, version: str = NEW) -> dict[str, Any]:
    """That version of the demo for a share of the clients, as part of the record."""
    return {"canaries": {DEMO: Canary(version, share, until)}}


@contextmanager
def announced(service: Service, **changes: Any) -> Iterator[None]:  # noqa: ANN401 - the record's
    """Another `server.json` for a while."""
    before = state.read_record(service.server.inference_url)
    assert before is not None
    state.write_record(service.server.folder, replace(before, **changes))
    try:
        yield
    finally:
        state.write_record(service.server.folder, before)


@contextmanager
def served_beside(
    service: Service,
    store: Path,
    scratch: Path,
    version: str = NEW,
    change: Callable[[Path], None] = lambda _: None,
) -> Iterator[None]:
    """The demo once more under another version number, not the default, for a while."""
    made = make_version(store / f"{DEMO}-0.1.mar", scratch, version, change)
    with registered(service, made.rename(store / made.name), DEMO, version):
        yield


@contextmanager
def default_is(service: Service, version: str) -> Iterator[None]:
    """Another version as TorchServe's default for a while."""
    try:
        assert service.manage("PUT", f"/models/{DEMO}/{version}/set-default").ok
        yield
    finally:
        assert service.manage("PUT", f"/models/{DEMO}/0.1/set-default").ok


def scale(service: Service, version: str, workers: int) -> None:
    """Give a version of the demo that many workers, and wait for them."""
    wanted = {"min_worker": str(workers), "max_worker": str(workers), "synchronous": "true"}
    assert service.manage("PUT", f"/models/{DEMO}/{version}", wanted).ok
