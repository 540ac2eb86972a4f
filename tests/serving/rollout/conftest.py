"""A server of one's own, with a model store that may be changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import DEMO
from tests.serving.rollout.operator import Operator
from tests.serving.rollout.versions import make_version
from tests.serving.serve_process import ServeProcess


@pytest.fixture(scope="module")
def operator(demo_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """`catbreeds serve` without a gateway, with the demo as version 0.1."""
    folder = tmp_path_factory.mktemp("rollout")
    store = folder / "store"
    store.mkdir()
    (store / f"{DEMO}-0.1.mar").write_bytes(demo_archive.read_bytes())
    operator = Operator(ServeProcess(folder, store, "--free-ports", "--no-web"), store)
    try:
        operator.server.wait_until_ready()
        yield operator
    finally:
        # Perhaps another one by now: tests stop it and start it again.
        operator.server.kill()


@pytest.fixture(scope="module")
def next_version(demo_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo as version 0.2, not in the store."""
    return make_version(demo_archive, tmp_path_factory.mktemp("next"), "0.2")
