"""Training that is killed, stopped, out of disk, or loses a photo goes on to the same weights."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.serving.serve_process import CATBREEDS
from tests.training.small_sets import write_small_set
from tests.training.tiny import ALONE, PHOTOS, TOGETHER, write_tiny
from tests.training.training_process import Training, position, result


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "data"
    write_small_set("dogs-vs-cats", folder, PHOTOS)
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def undisturbed(
    recipe: str, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, list[dict[str, Any]]]:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    assert Training(recipe, data, run).end()[0] == 0
    weights, lines = result(run)
    # Else the weights would say nothing of what comes after the head's phase.
    assert min(lines, key=lambda line: line["validation"]["loss"])["step"] > 20
    return weights, lines


def test_killed_at_any_moment_it_goes_on_to_the_same_weights(
    recipe: str, data: Path, undisturbed: tuple[bytes, list[dict[str, Any]]], tmp_path: Path
) -> None:
    moments = random.Random(8)
    run = tmp_path / "run"
    for phase, step in ((0, 1), (1, moments.randrange(1, 30)), (1, moments.randrange(31, 70))):
        training = Training(recipe, data, run, "--resume")
        training.wait_for_step(phase, step)
        time.sleep(moments.random() * 0.05)
        training.signal(signal.SIGKILL)
        assert training.end()[0] == -signal.SIGKILL
        assert not (run / "run.json").exists()
    assert Training(recipe, data, run, "--resume").end()[0] == 0
    assert result(run) == undisturbed


def test_statistics_of_batches_and_dropout_go_on_as_well(
    recipe: str, data: Path, tmp_path: Path
) -> None:
    """What was measured on the way tells: it depends on the statistics of all steps before."""
    options = [word for change in TOGETHER for word in ("--set", change)]
    options += ["--set", "training.phases.1.epochs=10"]
    assert Training(recipe, data, tmp_path / "whole", *options).end()[0] == 0
    training = Training(recipe, data, tmp_path / "run", *options)
    training.wait_for_step(1, 10)
    training.signal(signal.SIGKILL)
    training.end()
    assert Training(recipe, data, tmp_path / "run", "--resume", *options).end()[0] == 0
    assert result(tmp_path / "run") == result(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_saves_and_says_how_to_go_on(
    recipe: str,
    data: Path,
    undisturbed: tuple[bytes, list[dict[str, Any]]],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    # Only what the signal saves is there to go on from.
    rarely = ("--set", "training.checkpoint_minutes=60")
    training = Training(recipe, data, tmp_path / "run", *rarely)
    training.wait_for_step(0, 3)
    training.signal(number)
    code, errors = training.end()
    assert code == 130
    assert "stopping: this step is finished and all is saved" in errors
    assert re.search(r"stopped after step \d+; all is saved", errors)
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert position(tmp_path / "run") is not None
    assert Training(recipe, data, tmp_path / "run", "--resume", *rarely).end()[0] == 0
    assert result(tmp_path / "run") == undisturbed


def test_a_full_disk_keeps_the_last_good_checkpoint(
    recipe: str, data: Path, undisturbed: tuple[bytes, list[dict[str, Any]]], tmp_path: Path
) -> None:
    # The second phase saves the momentum of all layers, too: that no longer fits.
    room = int(1.5 * len(undisturbed[0]))
    code, errors = Training(recipe, data, tmp_path / "run", file_bytes=room).end()
    assert code == 1
    assert "latest.pt: cannot be written" in errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    at = position(tmp_path / "run")
    assert at is not None
    assert not list((tmp_path / "run" / "checkpoint").glob("*.partial"))
    assert Training(recipe, data, tmp_path / "run", "--resume").end()[0] == 0
    assert result(tmp_path / "run") == undisturbed


def test_a_photo_that_rots_meanwhile_is_named_and_all_is_kept(
    recipe: str, undisturbed: tuple[bytes, list[dict[str, Any]]], tmp_path: Path
) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    write_small_set("dogs-vs-cats", data, PHOTOS)
    training = Training(recipe, data, run)
    training.wait_for_step(1, 5)
    good = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in data.iterdir()}
    for path in good:
        path.write_bytes(b"rotten")
    code, errors = training.end()
    assert code == 1
    assert any(f"{path.name}: " in errors for path in good)
    assert "Traceback" not in errors
    at = position(run)
    assert at is not None
    assert (at.phase, at.step) >= (1, 5)
    for path, (content, changed) in good.items():
        path.write_bytes(content)
        os.utime(path, ns=(changed, changed))
    assert Training(recipe, data, run, "--resume").end()[0] == 0
    assert result(run) == undisturbed


def test_a_damaged_checkpoint_is_refused(recipe: str, data: Path, tmp_path: Path) -> None:
    training = Training(recipe, data, tmp_path / "run")
    training.wait_for_step(0, 1)
    training.signal(signal.SIGKILL)
    training.end()
    latest = tmp_path / "run" / "checkpoint" / "latest.pt"
    latest.write_bytes(latest.read_bytes()[:-500])
    code, errors = Training(recipe, data, tmp_path / "run", "--resume").end()
    assert (code, errors.count("\n")) == (1, 1)
    assert "latest.pt: cannot be read" in errors


def test_two_processes_learn_what_one_does_with_the_same_batches(
    recipe: str, data: Path, tmp_path: Path
) -> None:
    """The same loss at every step but for rounding.

    Each process adds up the gradients of two micro-batches; photos are blended, and drawn.
    """
    changes = [
        *ALONE,
        "augmentation.mixup=0.2",
        "training.micro_batch=2",
        "training.imbalance=balanced-sampling",
        "training.evaluate_every=1",
        "training.phases.1.epochs=1",
    ]
    options = ["--tracker", "none", *(word for each in changes for word in ("--set", each))]
    runs = {1: tmp_path / "one", 2: tmp_path / "two"}
    for processes, run in runs.items():
        subprocess.run(
            (
                *(str(CATBREEDS.with_name("torchrun")), "--standalone"),
                *("--nproc-per-node", str(processes), "--no-python", str(CATBREEDS)),
                *("train", recipe, str(data), str(run), *options),
            ),
            check=True,
            capture_output=True,
            timeout=300,
            env=os.environ | {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1"},
        )
    (_, one), (_, two) = (result(run) for run in runs.values())
    assert [line["step"] for line in one] == [line["step"] for line in two]
    # What rounding differs by grows at each step, ten times or more.
    for ours, theirs in zip(one, two, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
        assert theirs["validation"]["loss"] == pytest.approx(ours["validation"]["loss"], rel=1e-4)
    # All layers have learned in the last three of these steps.
    assert one[5]["validation"]["loss"] < 0.98 * one[2]["validation"]["loss"]
