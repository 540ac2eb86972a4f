"""Each tracker gets the configuration that really ran, and the curves."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.serving.serve_process import CATBREEDS
from tests.training.small_sets import write_small_set
from tests.training.tiny import PHOTOS, write_tiny
from training.fitting.tracking import TrackingError, flattened
from training.train import train

CHANGES = ("training.phases.1.epochs=1", "training.seed=77")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "data"
    write_small_set("dogs-vs-cats", folder, PHOTOS)
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    return write_tiny(tmp_path)


def test_tensorboard_has_curves_and_the_resolved_recipe(
    recipe: str, data: Path, tmp_path: Path
) -> None:
    train(recipe, data, tmp_path / "run", changes=CHANGES)
    (log,) = (tmp_path / "run" / "tracking").iterdir()
    events = EventAccumulator(str(log)).Reload()
    steps = [event.step for event in events.Scalars("loss")]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events.Scalars("validation_top1")] == [3, 6]
    (hyper,) = log.rglob("hparams.yml")
    assert "training.seed: 77" in hyper.read_text()
    assert "training.phases.1.epochs: 1" in hyper.read_text()
    assert "found.split_hash: " in hyper.read_text()


def test_mlflow_keeps_it_in_a_local_store(
    recipe: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "mlruns"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    train(recipe, data, tmp_path / "run", changes=CHANGES, tracker="mlflow")
    (seed,) = store.rglob("training.seed")
    assert seed.read_text() == "77"
    (loss,) = store.rglob("metrics/loss")
    assert len(loss.read_text().splitlines()) == 6
    (top1,) = store.rglob("metrics/validation_top1")
    assert [line.split()[2] for line in top1.read_text().splitlines()] == ["3", "6"]


def test_comet_writes_an_archive_when_offline(recipe: str, data: Path, tmp_path: Path) -> None:
    """In a process of its own, as Comet changes much of the one that imports it."""
    offline = {"COMET_START_ONLINE": "0", "COMET_OFFLINE_DIRECTORY": str(tmp_path / "comet")}
    subprocess.run(
        (
            *(str(CATBREEDS), "train", recipe, str(data), str(tmp_path / "run")),
            *("--tracker", "comet"),
            *(word for change in CHANGES for word in ("--set", change)),
        ),
        env=os.environ | offline,
        check=True,
        capture_output=True,
        timeout=300,
    )
    (archive,) = (tmp_path / "comet").glob("*.zip")
    with zipfile.ZipFile(archive) as opened:
        messages = opened.read("messages.json").decode().splitlines()
    told = [json.loads(line)["payload"] for line in messages]
    parameters = {
        each["param"]["paramName"]: each["param"]["paramValue"]
        for each in told
        if each.get("param")
    }
    assert str(parameters["training.seed"]) == "77"
    metrics = [each["metric"]["metricName"] for each in told if each.get("metric")]
    assert metrics.count("loss") == 6
    assert metrics.count("validation_top1") == 2


def test_an_unknown_tracker_is_refused(recipe: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"'wandb'.*tensorboard, comet, mlflow, none"):
        train(recipe, data, tmp_path / "run", tracker="wandb")
    assert not (tmp_path / "run").exists()


def test_tables_are_flattened_for_trackers() -> None:
    nested = {"a": {"b": [1, {"c": None}]}, "d": True, "e": 0.5}
    assert flattened(nested) == {"a.b.0": 1, "a.b.1.c": "None", "d": True, "e": 0.5}
