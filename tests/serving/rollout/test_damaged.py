"""Archives that rot or vanish in the model store, and work that is slow to finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.service import DEMO
from tests.serving.rollout.operator import Operator
from tests.serving.serve_process import ServeProcess


@pytest.fixture(autouse=True)
def as_at_first(operator: Operator, demo_archive: Path) -> Iterator[None]:
    """Each test leaves version 0.1 alone."""
    yield
    operator.back_to(demo_archive, "0.1")


def rot(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def restart(operator: Operator) -> str:
    """What the next `catbreeds serve` says on its standard error."""
    operator.server.send(signal.SIGINT)
    assert operator.server.wait() == 0
    folder = operator.server.folder
    operator.server = ServeProcess(folder, operator.store, "--free-ports", "--no-web")
    operator.server.wait_until_ready()
    return operator.server.stderr()


def test_the_previous_version_rots(
    operator: Operator, next_version: Path, demo_archive: Path, cat_photo: bytes
) -> None:
    operator.deploy(next_version)
    rot(operator.store / f"{DEMO}-0.1.mar")
    assert "cat-breeds 0.1 is left out" in restart(operator)
    assert operator.states() == {"0.2": "default", "0.1": "on disk"}
    refused = operator.run("rollback")
    assert refused.returncode == 1
    assert "0.2 answers as before" in refused.stderr
    assert operator.states() == {"0.2": "default", "0.1": "on disk"}
    operator.deploy(demo_archive)
    assert operator.states() == {"0.1": "default", "0.2": "previous"}
    assert (operator.store / f"{DEMO}-0.1.mar").read_bytes() == demo_archive.read_bytes()
    assert operator.ask(cat_photo).version == "0.1"


def test_the_default_rots(
    operator: Operator, next_version: Path, cat_photo: bytes, tmp_path: Path
) -> None:
    """A version that works answers in its place, until it is put right."""
    operator.deploy(next_version)
    rot(operator.store / next_version.name)
    (operator.store / "torn.mar").write_bytes(next_version.read_bytes()[:1000])
    said = restart(operator)
    assert "0.1 answers in place of 0.2" in said
    assert "torn.mar" in said
    (operator.store / "torn.mar").unlink()
    assert operator.states() == {"0.1": "default", "0.2": "on disk"}
    assert operator.ask(cat_photo).version == "0.1"
    operator.deploy(next_version)
    assert operator.states() == {"0.2": "default", "0.1": "previous"}


def test_deploying_the_default_again_puts_its_archive_right(
    operator: Operator, demo_archive: Path
) -> None:
    rot(operator.store / demo_archive.name)
    assert operator.deploy(demo_archive)["outcome"] == "unchanged"
    assert (operator.store / demo_archive.name).read_bytes() == demo_archive.read_bytes()


def test_another_deploy_says_that_the_defaults_archive_is_damaged(
    operator: Operator, demo_archive: Path, next_version: Path
) -> None:
    (operator.store / demo_archive.name).unlink()
    refused = operator.run("deploy", str(next_version))
    assert refused.returncode == 1
    assert "the default's archive cannot be read" in refused.stderr
    operator.deploy(demo_archive)


def test_what_a_version_has_begun_is_finished(
    operator: Operator, next_version: Path, cat_photo: bytes
) -> None:
    """A worker that is held for three seconds stands for a photo that takes so long."""
    operator.deploy(next_version)
    (pid,) = operator.management().describe(DEMO, "0.2").worker_pids
    worker = psutil.Process(pid)
    worker.suspend()
    try:
        with ThreadPoolExecutor() as threads:
            answer = threads.submit(operator.ask, cat_photo)
            going_on = threading.Timer(3, worker.resume)
            going_on.start()
            operator.done("rollback")
            assert answer.result().version == "0.2"
            going_on.join()
    finally:
        if worker.is_running():
            worker.resume()
    assert operator.ask(cat_photo).version == "0.1"
