from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.training.evaluation.conftest import BROKEN, COLOURS, EACH, Parts
from training.data.dataset import DatasetError
from training.evaluation.evaluate import evaluate
from training.evaluation.predictor import (
    Answered,
    EvaluationError,
    ModelDescription,
    Predictor,
    Refused,
)
from training.evaluation.predictors import LocalPredictor, from_run


@pytest.fixture(scope="module")
def predictor(run: Path) -> LocalPredictor:
    return from_run(run)


class Probabilities:
    """Another predictor's answers as a service would give them, in batches that are noted."""

    def __init__(self, predictor: Predictor, temperature: float | None) -> None:
        self._predictor = predictor
        self.model: ModelDescription = dataclasses.replace(
            predictor.model, kind="service", temperature=temperature, has_logits=False
        )
        self.batches: list[int] = []

    def predict(self, photos: Sequence[bytes]) -> list[Answered | Refused]:
        self.batches.append(len(photos))
        found = self._predictor.predict(photos)
        return [each if isinstance(each, Refused) else self._as_served(each) for each in found]

    def _as_served(self, answered: Answered) -> Answered:
        probabilities = (answered.logits / self._predictor.model.divisor).softmax(0)
        return Answered(probabilities.log(), answered.unsure)


def test_figures_of_the_held_out_photos(
    predictor: LocalPredictor, photos: Path, parts: Parts, tmp_path: Path
) -> None:
    found = evaluate(predictor, photos, tmp_path / "out")
    assert (found.data.part, found.data.photos) == ("test", len(parts.test))
    assert set(found.data.not_answered) == {BROKEN}
    assert found.data.split_hash == found.data.card_split_hash
    assert found.remarks == ()
    names = list(COLOURS)
    right, sure, sure_and_right = 0, 0, 0
    mistakes: dict[tuple[str, str], list[str]] = {}
    for path in parts.test:
        (answer,) = predictor.predict([(photos / path).read_bytes()])
        assert isinstance(answer, Answered)
        truth, best = path.rpartition("_")[0], names[int(answer.logits.argmax())]
        right += truth == best
        sure += not answer.unsure
        sure_and_right += truth == best and not answer.unsure
        if truth != best:
            mistakes.setdefault((truth, best), []).append(path)
    count = len(parts.test)
    assert found.headline.top1 == pytest.approx(right / count)
    assert 0.5 < found.headline.top1 < 1
    low, high = found.headline.top1_interval
    assert low < found.headline.top1 < high
    assert found.headline.top5 >= found.headline.top1
    # As many photos of each class: always naming one of them is right so often.
    assert found.headline.majority_baseline == pytest.approx(1 / 6, abs=0.07)
    assert found.unsure.bought.answered == pytest.approx(sure / count)
    assert found.unsure.bought.precision == pytest.approx(sure_and_right / sure)
    assert found.unsure.bought.kept == pytest.approx(sure_and_right / right)
    assert (found.unsure.score, found.unsure.curve_of) == ("energy", "energy")
    assert {(pair.label, pair.answer): set(pair.examples) for pair in found.pairs} == {
        pair: set(paths) for pair, paths in mistakes.items()
    }
    assert sum(map(sum, found.confusion)) == count
    assert sum(each.support for each in found.classes) == count
    assert found.calibration.error_before is not None
    assert found.calibration.error_before != found.calibration.error_after
    assert found.outside is None
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert written == json.loads(json.dumps(dataclasses.asdict(found)))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "evaluation.json",
        "evaluation.html",
    }


def test_photos_of_none_of_the_classes(
    predictor: LocalPredictor, photos: Path, strangers: Path, tmp_path: Path
) -> None:
    found = evaluate(predictor, photos, tmp_path, "all", strangers)
    assert found.outside is not None
    assert found.outside.photos == 9
    assert set(found.outside.not_answered) == {"notes.txt"}
    assert found.outside.comparison is not None
    assert len(found.outside.comparison.scores) == 3
    assert 0 <= found.outside.unsure <= 1


def test_files_that_are_no_photos_are_counted_and_named(
    predictor: LocalPredictor, photos: Path, tmp_path: Path
) -> None:
    model = dataclasses.replace(predictor.model, data={"layout": "pets"})
    unscanned = Probabilities(predictor, 1.4)
    unscanned.model = model
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in photos.iterdir():
        (linked / path.name).symlink_to(path)
    (linked / "pug_77.jpg").symlink_to(tmp_path / "gone")
    found = evaluate(unscanned, linked, tmp_path / "out", "all")
    assert found.data.photos == EACH * len(COLOURS)
    assert set(found.data.not_answered) == {BROKEN, "pug_77.jpg"}
    assert "JPEG" in found.data.not_answered[BROKEN]
    assert "No such file" in found.data.not_answered["pug_77.jpg"]
    assert max(unscanned.batches) <= 64


def test_probabilities_alone_give_the_same_figures_but_for_the_other_scores(
    predictor: LocalPredictor, photos: Path, strangers: Path, tmp_path: Path
) -> None:
    ours = evaluate(predictor, photos, tmp_path, "all", strangers)
    served = evaluate(Probabilities(predictor, 1.4), photos, tmp_path, "all", strangers)
    assert served.headline == ours.headline
    assert served.confusion == ours.confusion
    assert served.unsure.bought == ours.unsure.bought
    assert (served.unsure.score, served.unsure.curve_of) == ("energy", "probability")
    assert (served.calibration.before, served.calibration.error_before) == (None, None)
    assert served.calibration.error_after == pytest.approx(ours.calibration.error_after, abs=1e-5)
    assert served.outside is not None
    assert served.outside.comparison is not None
    assert [each.score for each in served.outside.comparison.scores] == ["probability"]
    untold = evaluate(Probabilities(predictor, None), photos, tmp_path, "all")
    assert untold.headline == ours.headline
    assert untold.calibration.error_after == pytest.approx(ours.calibration.error_after, abs=1e-5)


class Nothing:
    """A service that takes no photo."""

    def __init__(self, model: ModelDescription) -> None:
        self.model = model

    def predict(self, photos: Sequence[bytes]) -> list[Answered | Refused]:
        return [Refused("too tired") for _ in photos]


def test_no_answer_at_all_is_an_error(
    predictor: LocalPredictor, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match="none of 84 photos was answered: too tired"):
        evaluate(Nothing(predictor.model), photos, tmp_path, "all")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match="no photo there"):
        evaluate(predictor, photos, tmp_path / "out", "all", tmp_path / "empty")
    assert {path.name for path in tmp_path.iterdir()} == {"empty"}


ODD = os.fsdecode(b"\xff\xfe")


def test_a_name_that_is_not_utf_8_costs_no_report(
    predictor: LocalPredictor, photos: Path, tmp_path: Path
) -> None:
    """As a file, as a class, as a mistake, as a stranger, and as the folder of it all."""
    data = tmp_path / f"data {ODD}"
    for name in COLOURS:
        (data / name).mkdir(parents=True)
        shutil.copy(photos / f"{name}_0.jpg", data / name / "0.jpg")
    shutil.copy(photos / "samoyed_1.jpg", data / "Bombay" / f"{ODD}.jpg")
    (data / "Bombay" / f"{ODD}.png").write_bytes(b"no photo")
    (data / f"odd {ODD}").mkdir()
    shutil.copy(photos / "pug_1.jpg", data / f"odd {ODD}" / "1.jpg")
    strangers = tmp_path / f"strangers {ODD}"
    strangers.mkdir()
    shutil.copy(photos / "pug_2.jpg", strangers / "2.jpg")
    for alike in (b"\xff.txt", b"\xfe.txt"):
        (strangers / os.fsdecode(alike)).write_bytes(b"no photo")
    source = dataclasses.replace(predictor.model, source=f"runs/{ODD}")
    model = Probabilities(predictor, 1.4)
    model.model = dataclasses.replace(source, data={})
    out = tmp_path / f"out {ODD}"
    found = evaluate(model, data, out, "all", strangers, "folders")
    written = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(dataclasses.asdict(found)))
    shown = "\ufffd\ufffd"
    assert written["data"]["folder"].endswith(f"data {shown}")
    assert written["model"]["source"] == f"runs/{shown}"
    assert set(written["data"]["not_answered"]) == {f"Bombay/{shown}.png"}
    assert any(f"odd {shown}" in remark for remark in written["remarks"])
    # Two files are two, though their names are shown alike.
    assert set(written["outside"]["not_answered"]) == {"\ufffd.txt", "\ufffd.txt (2)"}
    (mistake,) = [pair for pair in written["pairs"] if f"Bombay/{shown}.jpg" in pair["examples"]]
    assert mistake["answer"] == "samoyed"
    # It is shown as it looks, too: the file is read by its own name.
    html = (out / "evaluation.html").read_text(encoding="utf-8")
    item = next(part for part in html.split("<li")[1:] if f"Bombay/{shown}.jpg" in part)
    assert 'src="data:image/jpeg;base64,' in item
    assert "no picture" not in html


class Untouched:
    """A model that nothing is to be asked of."""

    def __init__(self, model: ModelDescription) -> None:
        self.model = model

    def predict(self, photos: Sequence[bytes]) -> list[Answered | Refused]:
        raise AssertionError("asked")


@pytest.mark.parametrize("below", ["", "evaluation"])
def test_that_nothing_can_be_written_is_found_out_first(
    predictor: LocalPredictor, photos: Path, tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / below
    with pytest.raises(EvaluationError, match=f"{out}: no report can be written there .*--out"):
        evaluate(Untouched(predictor.model), photos, out, "all")


def test_a_full_disk_is_found_out_first(
    predictor: LocalPredictor, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EvaluationError, match="No space left"):
        evaluate(Untouched(predictor.model), photos, tmp_path / "out", "all")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("data", "outside", "how"),
    [
        ("photos", "photos", "is the same folder as"),
        ("photos", "link", "is the same folder as"),
        ("photos", "photos/more", "lies in"),
        ("photos/more", "photos", "holds"),
    ],
)
def test_photos_of_the_classes_are_no_strangers(
    predictor: LocalPredictor, tmp_path: Path, data: str, outside: str, how: str
) -> None:
    (tmp_path / "photos" / "more").mkdir(parents=True)
    (tmp_path / "link").symlink_to("photos")
    model = Untouched(predictor.model)
    with pytest.raises(EvaluationError, match=f"--outside .*: {how} --data"):
        evaluate(model, tmp_path / data, tmp_path / "out", "all", tmp_path / outside)


def test_no_report_is_written_among_the_photos(
    predictor: LocalPredictor, photos: Path, tmp_path: Path
) -> None:
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    for folder in (photos, strangers):
        out = folder / "evaluation"
        with pytest.raises(DatasetError, match=f"{out}: lies in the data folder .* --out"):
            evaluate(Untouched(predictor.model), photos, out, "all", strangers)
        assert not out.exists()


def test_what_the_threshold_was_chosen_for_is_told_beside_what_it_buys(
    predictor: LocalPredictor, photos: Path, tmp_path: Path
) -> None:
    model = Probabilities(predictor, 1.4)
    for stated in (0.95, None):
        model.model = dataclasses.replace(model.model, sure_precision=stated)
        found = evaluate(model, photos, tmp_path, "all")
        assert found.unsure.sure_precision == stated
        written = json.loads((tmp_path / "evaluation.json").read_text())
        assert written["unsure"]["sure_precision"] == stated


class AlwaysWrong:
    """Names the next class."""

    def __init__(self, model: ModelDescription, labels: dict[bytes, int]) -> None:
        self.model = model
        self._labels = labels

    def predict(self, photos: Sequence[bytes]) -> list[Answered | Refused]:
        wrong = [(self._labels[photo] + 1) % 6 if photo in self._labels else 0 for photo in photos]
        return [Answered(9 * torch.eye(6)[each], False) for each in wrong]


def test_a_model_without_a_right_answer_is_evaluated_all_the_same(
    predictor: LocalPredictor, photos: Path, strangers: Path, tmp_path: Path
) -> None:
    names = list(COLOURS)
    labels = {
        path.read_bytes(): names.index(path.name.rpartition("_")[0])
        for path in photos.iterdir()
        if path.name != BROKEN
    }
    found = evaluate(AlwaysWrong(predictor.model, labels), photos, tmp_path, "all", strangers)
    assert (found.headline.top1, found.headline.macro_f1) == (0, 0)
    assert (found.unsure.bought.precision, found.unsure.bought.kept) == (0, None)
    assert found.outside is not None
    assert found.outside.comparison is None
    assert [len(pair.examples) for pair in found.pairs] == [4] * 6
