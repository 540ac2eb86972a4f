"""The running server: a version whose workers do not start, and one that is gone meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from serving import state
from serving.management import LoadFailed
from serving.model_store import verified_archive
from serving.rollout.site import Site
from tests.canaries import NEW
from tests.service import DEMO, Service
from tests.serving.rollout.versions import make_version

_RAISES = "raise RuntimeError('this handler cannot be loaded')\n"


def raising(folder: Path) -> None:
    """A handler that ends its worker while it loads."""
    (folder / "handlers" / "service.py").write_text(_RAISES)


def site_of(service: Service) -> Site:
    record = state.read_record(service.server.inference_url)
    assert record is not None
    return Site.of(service.server.folder, record)


def test_workers_that_do_not_start_are_given_up_at_once_and_not_started_again(
    service: Service, model_store: Path, tmp_path: Path
) -> None:
    made = make_version(model_store / f"{DEMO}-0.1.mar", tmp_path, NEW, raising)
    file = made.rename(model_store / made.name)
    try:
        archive = verified_archive(file)
        site, began = site_of(service), time.monotonic()
        with pytest.raises(LoadFailed, match=r"do not start.*log says why"):
            site.load(archive)
        # TorchServe would go on starting them for as long as that.
        assert time.monotonic() - began < archive.startup_timeout_s / 2
        assert site.status(DEMO, NEW) is None
    finally:
        file.unlink()


def test_what_is_not_there_is_unloaded(service: Service) -> None:
    site_of(service).unload(DEMO, "9.9")
    site_of(service).unload("no-such-model", "1.0")
