"""docs/runbook.md: each part is brought about, its commands typed, and what it says is seen."""

from __future__ import annotations

import doctest
import itertools
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from serving.inference import InferenceClient
from tests.service import DEMO
from tests.serving.rollout.operator import QUICK, Operator
from tests.serving.serve_process import CATBREEDS, ServeProcess

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook.md"
PARTS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.M | re.S))
_MATCH = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(autouse=True)
def as_at_first(operator: Operator, demo_archive: Path) -> Iterator[None]:
    """Each part begins and ends with version 0.1 alone."""
    yield
    operator.back_to(demo_archive, "0.1")


def follow(operator: Operator, part: str, folder: Path) -> None:
    """Type the part's commands and compare what they say."""
    blocks = re.findall(r"^```console\n(.*?)^```", PARTS[part], re.M | re.S)
    assert blocks, part
    for block in blocks:
        for command, expected in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block, re.M):
            said = typed(operator, command, folder)
            assert doctest.OutputChecker().check_output(expected, said, _MATCH), (
                f"{part}: $ {command}\nsaid:\n{said}\nthe runbook says:\n{expected}"
            )


def typed(operator: Operator, command: str, folder: Path) -> str:
    """What a command prints, on whichever stream."""
    words = shlex.split(command)
    assert words[0] == "catbreeds"
    if words[1] == "serve":
        return served_again(operator)
    if words[1] == "deploy":
        words += QUICK  # the default is half a minute
    result = subprocess.run(
        (str(CATBREEDS), *words[1:]),
        env=operator.server.environment | {"CATBREEDS_URL": operator.url},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return result.stdout


def served_again(operator: Operator) -> str:
    operator.server = ServeProcess(
        operator.server.folder, operator.store, "--free-ports", "--no-web"
    )
    operator.server.wait_until_ready()
    return operator.server.stdout()


def nothing(_operator: Operator, _archive: Path, _photo: bytes) -> None:
    """The part's own commands bring it about."""


def deployed(operator: Operator, archive: Path, _photo: bytes) -> None:
    operator.deploy(archive)


def worker_killed(operator: Operator, _archive: Path, _photo: bytes) -> None:
    (pid,) = operator.management().describe(DEMO, "0.1").worker_pids
    psutil.Process(pid).kill()
    operator.wait_until(
        lambda: operator.management().describe(DEMO, "0.1").worker_pids not in ((), (pid,))
    )


def bad_token(operator: Operator, _archive: Path, _photo: bytes) -> None:
    url = operator.server.url("management") + "/models"
    answer = requests.get(url, headers={"Authorization": "Bearer outdated"}, timeout=10)
    assert answer.status_code == 400
    assert "InvalidKeyException" in answer.text


def torchserve_killed(operator: Operator, _archive: Path, _photo: bytes) -> None:
    operator.server.java().kill()
    assert operator.server.wait() == 1
    assert "error: TorchServe ended by itself" in operator.server.stderr()


def deploy_killed(operator: Operator, archive: Path, _photo: bytes) -> None:
    deploying = operator.start("deploy", str(archive))
    operator.wait_until(lambda: "0.2" in operator.states())
    deploying.kill()
    deploying.communicate()
    operator.wait_until(lambda: operator.states() == {"0.1": "default"})


SITUATIONS: dict[str, Callable[[Operator, Path, bytes], None]] = {
    "Deploy": nothing,
    "Roll back": deployed,
    "Out of disk": deployed,
    "A worker dies": worker_killed,
    "A token has expired": bad_token,
    "TorchServe is gone": torchserve_killed,
    "A deploy was interrupted": deploy_killed,
}


@pytest.mark.parametrize("part", SITUATIONS)
def test_the_part_helps(
    part: str, operator: Operator, next_version: Path, cat_photo: bytes
) -> None:
    SITUATIONS[part](operator, next_version, cat_photo)
    follow(operator, part, next_version.parent)


def test_canary(
    operator: Operator, next_version: Path, cat_photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a gateway the clients choose by themselves; there are twenty here."""
    monkeypatch.setenv("CATBREEDS_STATE", str(operator.server.state))
    clients = [InferenceClient(operator.url, operator.token, client=str(n)) for n in range(20)]
    versions: list[str] = []
    done = threading.Event()

    def ask() -> None:
        for client in itertools.cycle(clients):
            if done.is_set():
                return
            versions.append(client.predict(cat_photo, DEMO).version)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        follow(operator, "Canary", next_version.parent)
    finally:
        done.set()
        asking.join()
    assert set(versions) == {"0.1", "0.2"}


def test_two_at_once(operator: Operator, next_version: Path) -> None:
    first = operator.start("deploy", str(next_version), "--watch", "10")
    operator.wait_until(lambda: "0.2" in operator.states())
    follow(operator, "Two at once", next_version.parent)
    assert first.wait() == 0
    first.communicate()


def test_every_part_is_exercised() -> None:
    assert set(PARTS) == {*SITUATIONS, "Canary", "Two at once"}
