"""What several tests of a running server need."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import DEMO
from tests.serving.serve_process import ServeProcess, Start


@pytest.fixture(scope="session")
def demo_archive(model_store: Path) -> Path:
    """The demo's archive, which no test may change."""
    return model_store / f"{DEMO}-0.1.mar"


@pytest.fixture(scope="session")
def demo_store(demo_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with nothing but the demo, which no test may change."""
    store = tmp_path_factory.mktemp("demo-store")
    (store / demo_archive.name).symlink_to(demo_archive)
    return store


@pytest.fixture(scope="session")
def served(demo_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """`catbreeds serve` with the demo, its log as JSON; its model store is `folder`/store."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "store").mkdir()
    (folder / "store" / demo_archive.name).symlink_to(demo_archive)
    options = ("--free-ports", "--log-format", "json")
    process = ServeProcess(folder, folder / "store", *options)
    try:
        process.wait_until_ready()
        yield process
        process.send(signal.SIGINT)
        assert process.wait() == 0
        assert process.gone() == []
        assert process.leftovers() == []
    finally:
        process.kill()


@pytest.fixture
def start(demo_store: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts `catbreeds serve` with the demo; it is killed after the test."""
    started: list[ServeProcess] = []

    def start(*options: str, model_store: Path = demo_store) -> ServeProcess:
        process = ServeProcess(tmp_path / f"serve{len(started)}", model_store, *options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
