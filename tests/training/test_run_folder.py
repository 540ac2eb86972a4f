from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from handlers.expected import BOUNDS, Expected
from handlers.preprocessing import Preprocessing
from training.archive import model_card
from training.drawn_cats import golden_photos
from training.models import bit
from training.run_folder import Run, RunError, build_model, read_run, write_run

RUN = Run(
    name="tiny",
    architecture_file="bit",
    architecture_options=bit.MEMBERS["R14x0.25"],
    preprocessing=Preprocessing((32, 32), None, "bilinear", (0.5,) * 3, (0.5,) * 3),
    classes=["a", "b", "c"],
    temperature=1.5,
    unsure_score="probability",
    unsure_threshold=0.25,
    data={"split_hash": "x"},
    metrics={"top1": 0.5},
    intended_use="tests",
    limitations=["it knows nothing"],
    licence_notes=[],
    expected=Expected(
        photos=4,
        part="test",
        predicted={"a": 0.5, "b": 0.5, "c": 0.0},
        top1_probability=dict.fromkeys(BOUNDS, 0.25) | {"1.0": 1.0},
        unsure=0.25,
    ),
)


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(3)
    model = build_model(RUN)
    torch.nn.init.normal_(model.get_parameter("head.conv.weight"))
    return model


def test_a_run_comes_back_as_it_was_written(tmp_path: Path, model: torch.nn.Module) -> None:
    write_run(tmp_path / "run", RUN, model, golden_photos())
    assert read_run(tmp_path / "run") == RUN
    state = load_file(tmp_path / "run" / "weights.safetensors")
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    golden = load_file(tmp_path / "run" / "golden" / "logits.safetensors")["logits"]
    assert golden.shape == (len(golden_photos()), 3)
    assert golden.std(dim=0).min() > 0


@pytest.mark.parametrize("stated", [0.95, None])
def test_the_card_says_what_the_threshold_was_chosen_for(
    tmp_path: Path, model: torch.nn.Module, stated: float | None
) -> None:
    write_run(tmp_path, dataclasses.replace(RUN, sure_precision=stated), model, golden_photos()[:1])
    described = json.loads((tmp_path / "run.json").read_text())
    assert described["sure_precision"] == stated
    assert model_card(read_run(tmp_path), "1.0")["sure_precision"] == stated
    # As a run of before has it.
    del described["sure_precision"]
    (tmp_path / "run.json").write_text(json.dumps(described))
    assert read_run(tmp_path) == RUN
    assert model_card(read_run(tmp_path), "1.0")["sure_precision"] is None


@pytest.mark.parametrize("absent", [True, False])
def test_a_run_without_what_to_expect_is_read_as_ever(
    tmp_path: Path, model: torch.nn.Module, absent: bool
) -> None:
    """As one of before, or an imported one."""
    write_run(tmp_path, dataclasses.replace(RUN, expected=None), model, golden_photos()[:1])
    described = json.loads((tmp_path / "run.json").read_text())
    if absent:
        del described["expected"]
    (tmp_path / "run.json").write_text(json.dumps(described))
    run = read_run(tmp_path)
    assert run == dataclasses.replace(RUN, expected=None)
    assert model_card(run, "1.0")["expected"] == {}


def test_the_card_says_what_to_expect_as_the_run_does(
    tmp_path: Path, model: torch.nn.Module
) -> None:
    write_run(tmp_path, RUN, model, golden_photos()[:1])
    described = json.loads((tmp_path / "run.json").read_text())
    assert model_card(read_run(tmp_path), "1.0")["expected"] == described["expected"]
    assert described["expected"]["predicted"] == {"a": 0.5, "b": 0.5, "c": 0.0}
    described["expected"]["photos"] = 0
    (tmp_path / "run.json").write_text(json.dumps(described))
    with pytest.raises(RunError, match="photos: 0 is not allowed"):
        read_run(tmp_path)


def test_a_name_that_is_not_utf_8_comes_back_as_well(
    tmp_path: Path, model: torch.nn.Module
) -> None:
    """As the name of a photo that does not decode; all of a training would be lost with it."""
    data = {**RUN.data, "not_decoded": ["caf\udce9.jpg"]}
    write_run(tmp_path, dataclasses.replace(RUN, data=data), model, golden_photos()[:1])
    assert read_run(tmp_path).data["not_decoded"] == ["caf\udce9.jpg"]


def test_a_finished_run_is_never_written_over(tmp_path: Path, model: torch.nn.Module) -> None:
    write_run(tmp_path, RUN, model, golden_photos()[:1])
    with pytest.raises(RunError, match="holds a finished run"):
        write_run(tmp_path, RUN, model, golden_photos())
    assert read_run(tmp_path) == RUN


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, model: torch.nn.Module) -> None:
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "mine.png").write_bytes(b"mine")
    (tmp_path / "images").mkdir()
    with pytest.raises(RunError, match="holds images, which no run writes"):
        write_run(tmp_path, RUN, model, golden_photos()[:1])
    assert (tmp_path / "golden" / "mine.png").exists()


def test_a_run_that_was_interrupted_is_not_finished_and_can_be_repeated(
    tmp_path: Path, model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("training.run_folder.safetensors.torch.save", full)
        with pytest.raises(OSError, match="No space"):
            write_run(tmp_path, RUN, model, golden_photos())
    with pytest.raises(RunError, match=r"run\.json is missing"):
        read_run(tmp_path)
    write_run(tmp_path, RUN, model, golden_photos()[:2])
    # Nothing is left of the longer golden set.
    assert [path.name for path in sorted((tmp_path / "golden").glob("*.png"))] == [
        "00.png",
        "01.png",
    ]


@pytest.mark.parametrize(
    ("file", "content"),
    [("run.json", "{"), ("run.json", '{"name": "x"}'), ("classes.json", "["), ("run.json", "[]")],
)
def test_a_damaged_run_is_refused(
    tmp_path: Path, model: torch.nn.Module, file: str, content: str
) -> None:
    write_run(tmp_path, RUN, model, golden_photos()[:1])
    (tmp_path / file).write_text(content)
    with pytest.raises(RunError, match=str(tmp_path)):
        read_run(tmp_path)


def test_the_run_says_what_made_it(tmp_path: Path, model: torch.nn.Module) -> None:
    write_run(tmp_path, RUN, model, golden_photos()[:1])
    described = json.loads((tmp_path / "run.json").read_text())
    assert described["libraries"]["torch"] == torch.__version__.partition("+")[0]
    assert len(described["git_sha"].removesuffix("-dirty")) == 40 or (
        described["git_sha"] == "unknown"
    )
