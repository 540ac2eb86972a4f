"""Training by a recipe: what it leaves, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.training.small_sets import write_small_set
from tests.training.tiny import PHOTOS, write_tiny
from training.data.dataset import DatasetError
from training.fitting.checkpoint import CheckpointError
from training.fitting.steps import TrainingError
from training.run_folder import RunError, read_run
from training.train import train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "data"
    write_small_set("dogs-vs-cats", folder, PHOTOS)
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def finished(data: Path, recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    train(recipe, data, folder, tracker="none")
    return folder


def weights(run: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(run / "weights.safetensors")


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_learns_and_says_on_what(finished: Path) -> None:
    run = read_run(finished)
    assert run.metrics["top1"] > run.metrics["majority_baseline"] == 0.5
    assert run.data["figures_of"] == "test"
    parts = [run.data[f"{part}_photos"] for part in ("training", "validation", "test")]
    assert parts == [24, 8, 8]
    assert len(run.data["split_hash"]) == 64
    assert 0.05 <= run.temperature <= 20


def test_a_line_for_each_evaluation(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["epoch"]) for line in lines] == [(0, 1), (1, 1), (1, 2), (1, 3)]
    assert [line["step"] for line in lines] == [3, 6, 9, 12]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert set(lines[0]["validation"]) == {"top1", "top5", "balanced_accuracy", "loss"}


def test_nothing_that_was_needed_meanwhile_is_left(finished: Path) -> None:
    left = {path.name for path in finished.iterdir()}
    expected = {"classes.json", "golden", "metrics.jsonl", "recipe.json", "run.json"}
    assert left - {"tracking"} == {*expected, "weights.safetensors"}


def test_the_resolved_recipe_is_kept(data: Path, recipe: str, tmp_path: Path) -> None:
    changes = ("training.seed=9", "training.phases.1.epochs=1")
    train(recipe, data, tmp_path / "run", changes=changes, tracker="none")
    kept = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert kept["training"]["seed"] == 9
    assert kept["training"]["phases"][1]["epochs"] == 1
    assert kept["augmentation"]["zoom"] == 0.0


def test_the_same_seed_gives_the_same_weights(
    finished: Path, data: Path, recipe: str, tmp_path: Path
) -> None:
    train(recipe, data, tmp_path / "again", tracker="none")
    assert same(weights(finished), weights(tmp_path / "again"))
    train(recipe, data, tmp_path / "other", changes=("training.seed=4",), tracker="none")
    assert not same(weights(finished), weights(tmp_path / "other"))


def test_micro_batches_add_up_to_the_batch(
    finished: Path, data: Path, recipe: str, tmp_path: Path
) -> None:
    """Group normalisation looks at each photo alone, so only rounding differs."""
    changes = ("training.micro_batch=8",)
    train(recipe, data, tmp_path / "whole", changes=changes, tracker="none")
    whole = weights(tmp_path / "whole")
    for name, value in weights(finished).items():
        torch.testing.assert_close(whole[name], value, rtol=1e-3, atol=1e-4)


def test_the_data_folder_is_never_changed(data: Path, finished: Path) -> None:
    assert sorted(path.suffix for path in data.iterdir()) == [".jpg"] * 2 * PHOTOS
    assert finished.exists()


def test_a_finished_run_is_not_written_over(finished: Path, data: Path, recipe: str) -> None:
    before = (finished / "run.json").read_bytes()
    for resume in (False, True):
        with pytest.raises(RunError, match="finished run"):
            train(recipe, data, finished, resume=resume, tracker="none")
    assert (finished / "run.json").read_bytes() == before


def test_early_stop_ends_a_phase(data: Path, recipe: str, tmp_path: Path) -> None:
    changes = (
        "training.early_stop=2",
        "training.phases.1.epochs=50",
        # What is learned at this rate is nothing, so that no evaluation is better.
        "training.phases.1.learning_rate=1e-12",
    )
    run = train(recipe, data, tmp_path / "run", changes=changes, tracker="none")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 2
    assert run.metrics["top1"] >= 0


def test_a_loss_that_is_no_number_stops_with_the_last_good_checkpoint(
    data: Path, recipe: str, tmp_path: Path
) -> None:
    changes = ("training.phases.1.learning_rate=1e38",)
    with pytest.raises(TrainingError, match=r"step \d+.*lower learning rate"):
        train(recipe, data, tmp_path / "run", changes=changes, tracker="none")
    kept = torch.load(tmp_path / "run" / "checkpoint" / "latest.pt", weights_only=True)
    assert kept["position"]["phase"] == 1
    best = safetensors.torch.load_file(tmp_path / "run" / "checkpoint" / "best.safetensors")
    assert all(torch.isfinite(value).all() for value in best.values())


def test_an_interrupted_run_is_not_begun_anew_without_a_word(
    data: Path, recipe: str, tmp_path: Path
) -> None:
    changes = ("training.phases.1.learning_rate=1e38",)
    with pytest.raises(TrainingError):
        train(recipe, data, tmp_path / "run", changes=changes, tracker="none")
    with pytest.raises(CheckpointError, match="--resume"):
        train(recipe, data, tmp_path / "run", changes=changes, tracker="none")
    # With another recipe what was learned is worth nothing.
    with pytest.raises(CheckpointError, match="another recipe"):
        train(recipe, data, tmp_path / "run", resume=True, tracker="none")


def test_an_empty_part_is_refused(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DatasetError, match=r"cat\.<?n"):
        train(recipe, tmp_path / "data", tmp_path / "run", tracker="none")
    for number in range(4):
        (tmp_path / "data" / f"cat.{number}.jpg").write_bytes(b"no photo")
        (tmp_path / "data" / f"dog.{number}.jpg").write_bytes(b"no photo")
    with pytest.raises(DatasetError, match="8 do not decode"):
        train(recipe, tmp_path / "data", tmp_path / "run", tracker="none")


def test_class_imbalance_is_handled_by_choice(data: Path, recipe: str, tmp_path: Path) -> None:
    """The choices run and differ; what they do is told by the tests of batches and losses."""
    found = []
    for choice in ("none", "balanced-sampling", "logit-adjustment"):
        uneven = tmp_path / choice
        write_small_set("dogs-vs-cats", uneven, PHOTOS)
        for number in range(10, PHOTOS):
            (uneven / f"dog.{number}.jpg").unlink()
        changes = (f"training.imbalance={choice}",)
        train(recipe, uneven, tmp_path / f"{choice}-run", changes=changes, tracker="none")
        found.append(weights(tmp_path / f"{choice}-run"))
    assert not same(found[0], found[1])
    assert not same(found[0], found[2])
