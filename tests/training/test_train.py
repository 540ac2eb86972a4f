"""Training by a recipe: what it leaves, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.training.small_sets import write_small_set
from tests.training.tiny import ALONE, PHOTOS, write_tiny
from tests.training.training_process import Training
from training.data.dataset import DatasetError
from training.evaluation.predictor import Answered
from training.evaluation.predictors import from_run
from training.evaluation.selection import select
from training.fitting.checkpoint import CheckpointError
from training.fitting.stage import TrainingError
from training.models import bit
from training.run_folder import RunError, alone, read_run
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


def learned_in_the_second_phase(run: Path) -> bool:
    """Else the best weights would say nothing of it."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = min(lines, key=lambda line: line["validation"]["loss"])
    return bool(best["phase"] == 1)


def test_a_run_learns_and_says_on_what(finished: Path) -> None:
    run = read_run(finished)
    assert run.metrics["top1"] > run.metrics["majority_baseline"] == 0.5
    assert run.data["figures_of"] == "test"
    parts = [run.data[f"{part}_photos"] for part in ("training", "validation", "test")]
    assert parts == [24, 8, 8]
    assert len(run.data["split_hash"]) == 64
    assert 0.05 <= run.temperature <= 20
    assert learned_in_the_second_phase(finished)


def test_a_run_says_what_answers_to_expect(finished: Path, data: Path) -> None:
    """They are those of the finished run to the photos that its metrics are about."""
    predictor = from_run(finished)
    chosen = select(predictor.model, data, "test")
    photos = [(data / photo.path).read_bytes() for photo in chosen.photos]
    answers = [each for each in predictor.predict(photos) if isinstance(each, Answered)]
    run = read_run(finished)
    assert run.expected is not None
    assert (run.expected.photos, run.expected.part) == (len(answers), "test") == (8, "test")
    best = [run.classes[int(each.logits.argmax())] for each in answers]
    assert run.expected.predicted == {name: best.count(name) / 8 for name in run.classes}
    assert run.expected.unsure == sum(each.unsure for each in answers) / 8
    probability = [float((each.logits / run.temperature).softmax(0).max()) for each in answers]
    reached = run.expected.top1_probability
    assert reached["0.5"] == 0.0  # of two classes
    assert reached["0.75"] == sum(each <= 0.75 for each in probability) / 8


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
    # What the recipe leaves open, as it was decided.
    assert kept["training"]["precision"] == "float32"
    assert kept["architecture"]["weights"] == "none"
    assert kept["steps"] == [3, 3]


def test_the_weights_that_a_run_began_with_are_in_its_recipe(
    data: Path, recipe: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.safetensors"
    state = bit.build(5, units=[1, 1, 1, 1], width=0.125).state_dict()
    safetensors.torch.save_file(state, file)
    changes = ("training.phases.1.epochs=1", "architecture.weights=BiT-M-R50x1.npz")
    for given, name in ((str(file), "mine.safetensors"), ("none", "none")):
        run = tmp_path / name.partition(".")[0]
        train(recipe, data, run, changes=changes, weights=given, tracker="none")
        kept = json.loads((run / "recipe.json").read_text())
        assert kept["architecture"]["weights"] == read_run(run).data["weights"] == name


def test_the_same_seed_gives_the_same_weights(
    finished: Path, data: Path, recipe: str, tmp_path: Path
) -> None:
    train(recipe, data, tmp_path / "again", tracker="none")
    assert same(weights(finished), weights(tmp_path / "again"))
    train(recipe, data, tmp_path / "other", changes=("training.seed=4",), tracker="none")
    assert not same(weights(finished), weights(tmp_path / "other"))


def test_micro_batches_add_up_to_the_batch(data: Path, recipe: str, tmp_path: Path) -> None:
    """Where a network looks at each photo alone, only rounding differs, which grows by the step."""
    made = []
    for size in (3, 8):
        changes = (*ALONE, "training.evaluate_every=1", f"training.micro_batch={size}")
        train(recipe, data, tmp_path / f"by-{size}", changes=changes, tracker="none")
        lines = (tmp_path / f"by-{size}" / "metrics.jsonl").read_text().splitlines()[:6]
        made.append([json.loads(line) for line in lines])
    for ours, theirs in zip(*made, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-3)
        assert theirs["validation"]["loss"] == pytest.approx(ours["validation"]["loss"], rel=1e-3)
    # All layers have learned in the last three of these steps.
    assert made[0][5]["validation"]["loss"] < 0.95 * made[0][2]["validation"]["loss"]


def test_the_data_folder_is_never_changed(data: Path, recipe: str, tmp_path: Path) -> None:
    def stand() -> dict[str, tuple[bytes, int]]:
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in data.iterdir()}

    before = stand()
    train(recipe, data, tmp_path / "run", changes=("training.phases.1.epochs=1",), tracker="none")
    assert stand() == before
    assert len(before) == 2 * PHOTOS


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
    train(recipe, data, tmp_path / "run", changes=changes, tracker="none")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 2


def test_a_loss_that_is_no_number_stops_with_the_last_good_checkpoint(
    data: Path, recipe: str, tmp_path: Path
) -> None:
    changes = ("training.phases.1.learning_rate=1e38",)
    with pytest.raises(TrainingError, match=r"step \d+.*lower learning rate"):
        train(recipe, data, tmp_path / "run", changes=changes, tracker="none")
    kept = torch.load(tmp_path / "run" / "checkpoint" / "latest.pt", weights_only=True)
    best = safetensors.torch.load_file(tmp_path / "run" / "checkpoint" / "best.safetensors")
    for state in (kept["model"], best):
        assert all(torch.isfinite(value).all() for value in state.values())


def test_what_is_saved_when_early_stop_is_due_goes_no_step_further(
    data: Path, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ("training.early_stop=1", "training.phases.1.learning_rate=1e-12")

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("training.train.write_run", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train(recipe, data, tmp_path / "run", changes=changes, tracker="none")
    before = (tmp_path / "run" / "metrics.jsonl").read_text()
    train(recipe, data, tmp_path / "run", changes=changes, resume=True, tracker="none")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


def test_features_of_other_weights_are_not_taken(
    data: Path, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        files.append(tmp_path / f"{seed}.safetensors")
        state = bit.build(5, units=[1, 1, 1, 1], width=0.125).state_dict()
        safetensors.torch.save_file(state, files[-1])

    def killed(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("training.fitting.fit.run_stage", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train(recipe, data, tmp_path / "run", weights=str(files[0]), tracker="none")
    assert list((tmp_path / "run").glob("scratch-*/*features*"))
    train(recipe, data, tmp_path / "run", weights=str(files[1]), tracker="none")
    train(recipe, data, tmp_path / "clean", weights=str(files[1]), tracker="none")
    assert same(weights(tmp_path / "run"), weights(tmp_path / "clean"))


def unreachable(*_: object, **__: object) -> None:
    raise ConnectionError("no route to the tracker")


def test_a_tracker_that_fails_does_not_stop_training(
    finished: Path,
    data: Path,
    recipe: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("accelerate.Accelerator.log", unreachable)
    train(recipe, data, tmp_path / "run", tracker="none")
    assert same(weights(finished), weights(tmp_path / "run"))
    assert capsys.readouterr().err.count("no route to the tracker") == 1


def test_a_tracker_that_does_not_end_well_loses_no_run(
    data: Path,
    recipe: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("accelerate.Accelerator.end_training", unreachable)
    changes = ("training.phases.1.epochs=1",)
    train(recipe, data, tmp_path / "run", changes=changes, tracker="none")
    assert "did not end well: no route" in capsys.readouterr().err
    assert read_run(tmp_path / "run").metrics
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_what_a_run_left_that_was_killed_at_its_end_goes(
    finished: Path, data: Path, recipe: str
) -> None:
    (finished / "checkpoint").mkdir()
    (finished / "checkpoint" / "latest.pt").write_bytes(b"")
    (finished / "scratch-1").mkdir()
    with pytest.raises(RunError, match="finished run"):
        train(recipe, data, finished, resume=True, tracker="none")
    assert not (finished / "checkpoint").exists()
    assert not (finished / "scratch-1").exists()


def test_resume_without_a_checkpoint_says_that_it_begins_anew(
    data: Path, recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("training.phases.1.epochs=1",)
    train(recipe, data, tmp_path / "run", changes=changes, resume=True, tracker="none")
    assert "no checkpoint is there, training begins anew" in capsys.readouterr().err


def test_one_training_at_a_time_works_in_a_run_folder(
    data: Path, recipe: str, tmp_path: Path
) -> None:
    with alone(tmp_path / "run"):
        code, errors = Training(recipe, data, tmp_path / "run").end()
    assert code == 1
    assert "another training is at work there" in errors
    assert not (tmp_path / "run").exists()


def test_an_interrupted_run_is_not_begun_anew_without_a_word(
    data: Path, recipe: str, tmp_path: Path
) -> None:
    changes = ("training.phases.1.learning_rate=1e38",)
    with pytest.raises(TrainingError):
        train(recipe, data, tmp_path / "run", changes=changes, tracker="none")
    with pytest.raises(CheckpointError, match="--resume"):
        train(recipe, data, tmp_path / "run", changes=changes, tracker="none")
    # With another recipe what was learned is worth nothing.
    with pytest.raises(CheckpointError, match=r"phases\.1\.learning_rate was 1e\+38, is 0\.002"):
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
