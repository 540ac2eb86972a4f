"""What an archive's card says of reduced precision was found on validation photos."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from handlers import engines
from handlers.archive_format import read_entry
from handlers.checksums import verify_checksums
from handlers.config import Precision
from handlers.engines import LEAST_AGREEMENT
from handlers.openvino_engine import supported_precisions
from tests.archives import unpack
from tests.training.evaluation.conftest import Parts
from training.archive import archive
from training.evaluation.precisions import in_words
from training.evaluation.predictor import EvaluationError
from training.evaluation.predictors import from_archive

REDUCED = [each for each in supported_precisions() if each != "f32"]


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are not 200 photos here."""
    monkeypatch.setattr(engines, "FEWEST_PHOTOS", 1)


@pytest.fixture
def measured(run: Path, photos: Path, tmp_path: Path) -> Path:
    return archive(run, "1.0", tmp_path / "measured", data=photos)


def recorded(path: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(read_entry(path, "model-card.json"))[
        "precisions"
    ]
    return found


def test_the_card_records_each_precision_of_this_cpu(measured: Path, parts: Parts) -> None:
    card = recorded(measured)
    assert sorted(card) == sorted(REDUCED)
    for each in card.values():
        assert each["photos"] == len(parts.validation)
        assert each["part"] == "validation"
        assert 0.5 < float(str(each["top1_agreement"])) <= 1
        assert str(each["engine"]).startswith("openvino 2")
    assert from_archive(measured).model.precisions_by == ({"validation"} if REDUCED else set())


def test_what_is_recorded_is_what_the_archive_then_answers(
    measured: Path, run: Path, photos: Path, parts: Parts, tmp_path: Path
) -> None:
    """float32 and the fastest precision, each by an archive of its own, on the same photos."""
    fastest = from_archive(measured)
    plain = from_archive(archive(run, "1.0", tmp_path))
    files = [(photos / path).read_bytes() for path in parts.validation]
    ours, theirs = (
        torch.stack([each.logits for each in predictor.predict(files)])  # type: ignore[union-attr]
        for predictor in (fastest, plain)
    )
    used = [remark.split()[-1].rstrip(".") for remark in fastest.model.remarks]
    if used:
        same = float((ours.argmax(1) == theirs.argmax(1)).double().mean())
        assert same == pytest.approx(float(str(recorded(measured)[used[0]]["top1_agreement"])))
    else:
        assert torch.equal(ours, theirs)
    assert plain.model.remarks == ()


def test_what_a_card_allows_is_said_in_words() -> None:
    found = {"photos": 200, "part": "validation", "engine": "openvino"}
    said = in_words(
        {
            "bf16": found | {"top1_agreement": 0.995},
            "int8": found | {"top1_agreement": 0.98},
        }
    )
    assert list(said) == [
        "bf16: float32's class for 99.5% of 200 validation photos: may be used",
        "int8: float32's class for 98.0% of 200 validation photos: not used, as 99.0% of 200 "
        "are needed",
    ]


def test_an_archive_that_was_measured_is_whole_when_it_is_unpacked(
    measured: Path, tmp_path: Path
) -> None:
    """Nothing that measuring left behind is packed, or every worker would refuse it."""
    verify_checksums(unpack(measured, tmp_path / "content"))


def test_too_few_photos_vouch_for_nothing(
    run: Path, photos: Path, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of validation: that there are more of test changes nothing."""
    monkeypatch.setattr(engines, "FEWEST_PHOTOS", len(parts.validation) + 1)
    monkeypatch.setitem(LEAST_AGREEMENT, "int8", 0.0)
    monkeypatch.setitem(LEAST_AGREEMENT, "bf16", 0.0)
    made = archive(run, "1.0", tmp_path / "few", data=photos)
    assert from_archive(made).model.remarks == ()


def test_without_photos_nothing_is_recorded(run: Path, tmp_path: Path) -> None:
    made = archive(run, "1.0", tmp_path)
    assert recorded(made) == {}
    with zipfile.ZipFile(made) as content:
        assert not [name for name in content.namelist() if "int8" in name]


@pytest.mark.skipif("int8" not in REDUCED, reason="this CPU has no int8")
@pytest.mark.parametrize(("least", "packed"), [(0.0, True), (1.1, False)])
def test_an_int8_graph_that_may_not_be_used_is_not_packed(
    run: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    least: float,
    packed: bool,
) -> None:
    monkeypatch.setitem(LEAST_AGREEMENT, "int8", least)
    made = archive(run, "1.0", tmp_path, data=photos)
    with zipfile.ZipFile(made) as content:
        assert ("openvino/int8.xml" in content.namelist()) == packed
    assert "int8" in recorded(made)


def test_other_photos_than_those_of_the_training_are_refused(
    run: Path, strangers: Path, photos: Path, tmp_path: Path, copy_of: Callable[[Path], Path]
) -> None:
    fewer = copy_of(photos)
    next(iter(sorted(fewer.glob("*.jpg")))).unlink()
    with pytest.raises(EvaluationError, match=r"not the photos that .* trained with") as refused:
        archive(run, "1.0", tmp_path / "store", data=fewer)
    assert "without --data" in str(refused.value)
    assert "--part" not in str(refused.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("missing", ["layout", "split_hash"])
def test_a_run_that_does_not_tell_its_photos_is_told_what_archive_can_do(
    run: Path, photos: Path, tmp_path: Path, missing: str
) -> None:
    """As an imported one; `archive` has neither --layout nor --part."""
    untold = Path(shutil.copytree(run, tmp_path / "run"))
    described = json.loads((run / "run.json").read_text())
    del described["data"][missing]
    (untold / "run.json").write_text(json.dumps(described))
    with pytest.raises(EvaluationError, match=r"/run: does not say how .*; without --data") as told:
        archive(untold, "1.0", tmp_path / "store", data=photos)
    assert "--layout" not in str(told.value)


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    def copied(folder: Path) -> Path:
        target = tmp_path / "copy"
        target.mkdir()
        for path in folder.iterdir():
            (target / path.name).write_bytes(path.read_bytes())
        return target

    return copied


def test_precisions_are_those_of_the_configuration() -> None:
    known: tuple[Precision, ...] = ("f32", "bf16", "int8")
    assert set(supported_precisions()) <= set(known)
    assert supported_precisions()[-1] == "f32"
