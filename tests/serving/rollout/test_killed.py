"""Killed at any step, by whatever hand: afterwards the last good state, and it can be repeated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.service import DEMO
from tests.serving.rollout.operator import Operator
from tests.serving.serve_process import ServeProcess

_PATIENCE_S = 60
# The command's own code, in a process that ends as by kill -9 at a given moment of a given step.
_KILLED = """
import os, signal, sys
from pathlib import Path
from serving.rollout.candidate import Options
from serving.rollout.deploy import deploy
from serving.rollout.report import Report
from serving.rollout.rollback import retire, rollback
from serving.rollout.site import Site

command, url, file, name, outcome = sys.argv[1:]

def show(step):
    if (step.name, step.outcome) == (name, outcome):
        os.kill(os.getpid(), signal.SIGKILL)

site = Site.find(url)
report = Report(site.store, command, show)
if command == "deploy":
    # Nobody asks the canary here, so that it would not come further.
    canary = 0.5 if name == "canary" else None
    deploy(site, Path(file), Options(canary=canary, canary_s=1, watch_s=0.5), report)
elif command == "rollback":
    rollback(site, None, None, report)
else:
    retire(site, None, "0.1", True, report)
"""

DEPLOY = [
    ("verify", "begun"),
    ("compare cards", "begun"),
    ("copy", "begun"),
    ("copy", "ok"),
    ("register", "begun"),
    ("register", "ok"),
    ("self-test", "begun"),
    ("shadow", "begun"),
    ("canary", "begun"),
    ("switch", "begun"),
    ("switch", "ok"),
    ("watch", "begun"),
    ("record", "begun"),
]


def killed(operator: Operator, command: str, file: Path, step: str, outcome: str) -> None:
    done = subprocess.run(
        (sys.executable, "-c", _KILLED, command, operator.url, str(file), step, outcome),
        env=operator.server.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    assert done.returncode == -9, done.stderr


def wait_for(operator: Operator, states: dict[str, str]) -> None:
    operator.wait_until(lambda: operator.states() == states)


@pytest.fixture(scope="module")
def photo(unseen_cats: Path) -> bytes:
    return next(iter(sorted((unseen_cats / "images" / "Siamese").glob("*.jpg")))).read_bytes()


@pytest.fixture(autouse=True)
def as_at_first(operator: Operator) -> Iterator[None]:
    """Each test leaves version 0.1 alone in the store."""
    yield
    assert operator.states() == {"0.1": "default"}
    assert operator.archives() == [f"{DEMO}-0.1.mar"]


def back_to_first(operator: Operator) -> None:
    operator.done("rollback")
    operator.done("retire", "0.2", "--delete")


@pytest.mark.parametrize(("step", "outcome"), DEPLOY)
def test_a_deploy_is_killed(
    operator: Operator, next_version: Path, photo: bytes, step: str, outcome: str
) -> None:
    """Each of these repeats the deploy that the one before was killed in, and comes further; the
    last one, below, completes it."""
    killed(operator, "deploy", next_version, step, outcome)
    wait_for(operator, {"0.1": "default"})
    assert operator.ask(photo).version == "0.1"
    assert operator.archives() == [f"{DEMO}-0.1.mar"]


def test_what_turns_up_after_it_was_undone_is_unloaded(
    operator: Operator, next_version: Path
) -> None:
    """TorchServe may still be unpacking the archive when the deploy is undone."""
    killed(operator, "deploy", next_version, "register", "begun")
    wait_for(operator, {"0.1": "default"})
    (operator.store / next_version.name).write_bytes(next_version.read_bytes())
    operator.management().register(next_version.name, timeout_s=60)
    wait_for(operator, {"0.1": "default"})
    assert "was loaded after its deploy was undone" in operator.server.stderr()
    (operator.store / next_version.name).unlink()


def test_a_deploy_is_killed_and_repeated_at_once(
    operator: Operator, next_version: Path, photo: bytes
) -> None:
    """The next command undoes what the killed one left, where `serve` has not yet."""
    killed(operator, "deploy", next_version, "watch", "begun")
    operator.deploy(next_version, "--wait", "60")
    assert operator.states() == {"0.2": "default", "0.1": "previous"}
    assert operator.ask(photo).version == "0.2"
    back_to_first(operator)


def test_a_deploy_is_killed_when_all_is_done_but_tidying(
    operator: Operator, next_version: Path
) -> None:
    killed(operator, "deploy", next_version, "tidy", "begun")
    wait_for(operator, {"0.2": "default", "0.1": "previous"})
    back_to_first(operator)


@pytest.mark.parametrize(("step", "outcome"), [("switch", "begun"), ("switch", "ok")])
def test_a_rollback_is_killed(
    operator: Operator, next_version: Path, photo: bytes, step: str, outcome: str
) -> None:
    """Before it has begun nothing has changed; from then on it is completed."""
    operator.deploy(next_version)
    killed(operator, "rollback", next_version, step, outcome)
    if outcome == "ok":
        wait_for(operator, {"0.1": "default", "0.2": "on disk"})
        assert operator.ask(photo).version == "0.1"
    else:
        wait_for(operator, {"0.2": "default", "0.1": "previous"})
        operator.done("rollback")
    operator.done("retire", "0.2", "--delete")


def test_a_worker_is_killed(operator: Operator, photo: bytes) -> None:
    """TorchServe starts another; what is deployed stays the same."""
    pid = worker_pid(operator, "0.1")
    psutil.Process(pid).kill()
    operator.wait_until(lambda: is_ready_again(operator, pid))
    assert operator.ask(photo).version == "0.1"


def test_a_worker_of_the_new_version_is_killed(
    operator: Operator, next_version: Path, photo: bytes
) -> None:
    deploying = operator.start("deploy", str(next_version), "--watch", "20")
    wait_for(operator, {"0.2": "default", "0.1": "previous"})
    psutil.Process(worker_pid(operator, "0.2")).kill()
    _, said = deploying.communicate(timeout=_PATIENCE_S)
    assert deploying.returncode == 1
    assert "0.1 answers as before" in said
    assert operator.states() == {"0.1": "default"}
    assert operator.ask(photo).version == "0.1"


def test_torchserve_is_killed_and_then_the_whole_machine(
    operator: Operator, next_version: Path, photo: bytes
) -> None:
    deploying = operator.start("deploy", str(next_version), "--watch", "20")
    wait_for(operator, {"0.2": "default", "0.1": "previous"})
    operator.server.java().kill()
    _, said = deploying.communicate(timeout=_PATIENCE_S)
    assert deploying.returncode == 1, said
    assert operator.server.wait() == 1
    assert "TorchServe ended by itself" in operator.server.stderr()
    assert operator.run("models").returncode == 3
    again = Operator(restarted(operator), operator.store)
    try:
        assert again.states() == {"0.1": "default"}
        assert again.ask(photo).version == "0.1"
        again.deploy(next_version)
        again.server.kill()  # as a power cut does: nothing is told, nothing tidied up
        once_more = Operator(restarted(operator), operator.store)
        try:
            assert once_more.states() == {"0.2": "default", "0.1": "previous"}
            assert once_more.ask(photo).version == "0.2"
            back_to_first(once_more)
        finally:
            once_more.server.kill()
    finally:
        again.server.kill()
    operator.server = restarted(operator)


def restarted(operator: Operator) -> ServeProcess:
    server = ServeProcess(operator.server.folder, operator.store, "--free-ports", "--no-web")
    server.wait_until_ready()
    return server


def is_ready_again(operator: Operator, killed: int) -> bool:
    return operator.models()["0.1"]["ready"] and worker_pid(operator, "0.1") != killed


def worker_pid(operator: Operator, version: str) -> int:
    (pid,) = operator.management().describe(DEMO, version).worker_pids
    return pid
