"""Twenty deploys and rollbacks under load: nobody notices but for the version in the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.steady_load import Answered, SteadyLoad
from serving.settings import DEFAULT_CONFIG, read_properties
from tests.service import DEMO
from tests.serving.rollout.operator import Operator
from tests.serving.serve_process import ServeProcess

CYCLES = 20
REQUESTS = 5_000
CLIENTS = 4


@pytest.fixture(scope="module")
def public(demo_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A server with a gateway that limits nobody's rate."""
    folder = tmp_path_factory.mktemp("cycles")
    store = folder / "store"
    store.mkdir()
    (store / f"{DEMO}-0.1.mar").write_bytes(demo_archive.read_bytes())
    properties = read_properties(DEFAULT_CONFIG)
    # How much of its heap Java has taken by when depends on the machine's pace.
    properties["vmargs"] += " -Xms512m -XX:+AlwaysPreTouch"
    config = folder / "config.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATBREEDS_WEB_RATE", "none")
        server = ServeProcess(folder, store, "--free-ports", "--config", str(config))
    try:
        server.wait_until_ready()
        yield Operator(server, store)
    finally:
        server.kill()


def memory(server: ServeProcess) -> int:
    """Anonymous and shared bytes of all processes; what some of them share counts once.

    Files that they map are left out: what PSS counts of libraries depends on who else on the
    machine has them mapped. A worker's share of PyTorch is 227 MB alone, 114 MB beside another one.
    """
    return sum(written(process.pid) for process in server.family())


def written(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {key: int(size) for key, size, _ in (line.split() for line in lines)}
    return 1024 * sum(sizes[key] for key in ("Pss_Anon:", "Pss_Shmem:", "SwapPss:"))


def test_twenty_cycles_under_load(public: Operator, next_version: Path, unseen_cats: Path) -> None:
    paths = sorted((unseen_cats / "images").glob("*/*.jpg"))[::7]
    photos = [path.read_bytes() for path in paths]
    page = f"{public.server.url('page')}/api/classify"
    # The end of a change -> what answers whatever is sent afterwards, until the next change.
    changes: list[tuple[float, float, str]] = []

    def cycle(*canary: str) -> None:
        for version in ("0.2", "0.1"):
            begun = time.monotonic()
            if version == "0.2":
                public.deploy(next_version, *canary)
            else:
                public.done("rollback")
            changes.append((begun, time.monotonic(), version))

    with SteadyLoad(page, photos, CLIENTS) as load:
        # The first ones grow everybody's caches to their usual size.
        cycle()
        cycle()
        before = memory(public.server)
        for number in range(2, CYCLES):
            cycle(*(("--canary", "50%", "--canary-seconds", "2") if number == CYCLES // 2 else ()))
        while len(load.answers) < REQUESTS:
            time.sleep(0.1)
        after = memory(public.server)
    failed = [each for each in load.answers if each.status != 200]
    assert failed == []
    assert len(load.answers) >= REQUESTS
    wrong = [each for each in load.answers if each.version not in allowed(each, changes)]
    assert wrong == []
    assert {each.version for each in load.answers} == {"0.1", "0.2"}
    assert after <= 1.05 * before, (before, after)
    assert public.states() == {"0.1": "default", "0.2": "on disk"}


def allowed(answer: Answered, changes: list[tuple[float, float, str]]) -> set[str]:
    """The versions that were current or a canary at some moment of this request's."""
    versions, current = set(), "0.1"
    for begun, ended, version in changes:
        if begun <= answer.answered and ended >= answer.sent:
            versions |= {current, version}
        if ended < answer.sent:
            current = version
    return versions | {current}


def test_what_the_load_was_judged_by() -> None:
    """`allowed` itself: between two changes only one version may answer."""
    changes = [(10.0, 12.0, "0.2"), (20.0, 21.0, "0.1")]

    def at(sent: float, answered: float) -> set[str]:
        return allowed(Answered(sent, answered, 200, "", ""), changes)

    assert at(1, 2) == {"0.1"}
    assert at(9, 11) == {"0.1", "0.2"}
    assert at(12.5, 13) == {"0.2"}
    assert at(19, 20.5) == {"0.1", "0.2"}
    assert at(22, 23) == {"0.1"}


def test_the_processes_are_those_that_were_there(public: Operator) -> None:
    """One Java, one worker, one gateway and `catbreeds serve`; nothing is left of the others."""
    names = [process.name() for process in public.server.family()]
    workers = public.management().describe(DEMO, "0.1").worker_pids
    assert names.count("java") == 1
    assert len(workers) == 1
    assert len(names) == 4, [psutil.Process(each.pid).cmdline() for each in public.server.family()]
