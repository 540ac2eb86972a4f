"""The record of what is deployed, and what a server makes of it when it starts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from handlers.checksums import sha256_of
from serving import deployments
from serving.deployments import DeployedModel, DeployedVersion, Deployments, DeploymentsError
from serving.model_store import ServeError, select
from tests.service import DEMO
from tests.serving.rollout.versions import make_version


@pytest.fixture
def store(demo_archive: Path, tmp_path: Path) -> Path:
    """Versions 0.1 and 0.2 lie in it; nothing is recorded."""
    store = tmp_path / "store"
    store.mkdir()
    (store / demo_archive.name).write_bytes(demo_archive.read_bytes())
    made = make_version(demo_archive, tmp_path / "made", "0.2")
    made.rename(store / made.name)
    return store


def record(store: Path, default: str = "0.1", *others: str) -> None:
    versions = {
        version: DeployedVersion(
            archive=f"{DEMO}-{version}.mar",
            sha256=sha256_of(store / f"{DEMO}-{version}.mar"),
            workers=2,
            loaded=True,
            since=deployments.now(),
        )
        for version in (default, *others)
    }
    model = DeployedModel(default=default, versions=versions, previous=others, used={})
    deployments.write(store, Deployments(models={DEMO: model}))


def test_without_a_record_the_highest_version_is_the_default(store: Path) -> None:
    chosen = select(store)
    assert [archive.version for archive in chosen.archives] == ["0.1", "0.2"]
    assert chosen.models[DEMO].default == "0.2"
    assert chosen.models[DEMO].previous == ("0.1",)
    assert chosen.notes == ()


def test_the_record_decides(store: Path) -> None:
    record(store)
    chosen = select(store)
    assert [(each.version, each.workers) for each in chosen.archives] == [("0.1", 2)]
    (note,) = chosen.notes
    assert f"catbreeds deploy {store / f'{DEMO}-0.2.mar'}" in note


def test_the_default_comes_last(store: Path) -> None:
    """What is loaded last is made the default last."""
    record(store, "0.1", "0.2")
    assert [each.version for each in select(store).archives] == ["0.2", "0.1"]


def test_a_default_that_was_replaced_by_hand_is_not_served(store: Path) -> None:
    record(store)
    other = (store / f"{DEMO}-0.2.mar").read_bytes()
    (store / f"{DEMO}-0.1.mar").write_bytes(other)
    with pytest.raises(ServeError, match="is not the file that was deployed"):
        select(store)


def test_another_version_that_is_damaged_is_left_out(store: Path) -> None:
    record(store, "0.1", "0.2")
    (store / f"{DEMO}-0.2.mar").write_bytes(b"")
    chosen = select(store)
    assert [each.version for each in chosen.archives] == ["0.1"]
    assert "cat-breeds 0.2 is left out" in chosen.notes[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "Invalid JSON"),
        ("[]", "the file"),
        ('{"format": 2}', "format"),
        ('{"models": {"m": {"default": 1, "versions": {}, "used": {}}}}', "models.m.default"),
        ('{"unknown": 1}', "unknown"),
    ],
)
def test_a_damaged_record_is_named(store: Path, content: str, says: str) -> None:
    (store / deployments.RECORD_FILE).write_text(content)
    with pytest.raises(DeploymentsError, match=says):
        deployments.read(store)
    with pytest.raises(ServeError, match=r"deployed\.json"):
        select(store)


def test_the_record_is_kept_as_it_is(store: Path) -> None:
    record(store, "0.1", "0.2")
    kept = deployments.read(store)
    deployments.write(store, kept)
    assert deployments.read(store) == kept
    assert json.loads((store / deployments.RECORD_FILE).read_text())["format"] == 1


def test_one_at_a_time(store: Path) -> None:
    with deployments.locked(store, "deploy this.mar"):
        with (
            pytest.raises(DeploymentsError, match=rf"deploy this\.mar.*pid {os.getpid()}"),
            deployments.locked(store, "rollback"),
        ):
            pass
        with deployments.locked_if_free(store) as held:
            assert not held
    with deployments.locked_if_free(store) as held:
        assert held
