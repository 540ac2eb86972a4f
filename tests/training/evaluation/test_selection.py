"""The photos of the training's own split, or a plain word that they are not known."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.training.evaluation.conftest import BROKEN, COLOURS, EACH, Parts
from training.data.dataset import DatasetError
from training.evaluation.predictor import EvaluationError, ModelDescription
from training.evaluation.predictors import from_run
from training.evaluation.selection import Selection, select


@pytest.fixture
def model(run: Path) -> ModelDescription:
    return from_run(run).model


@pytest.fixture
def copy(photos: Path, tmp_path: Path) -> Path:
    """The photos, for one test to change."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


def told(model: ModelDescription, **data: Any) -> ModelDescription:  # noqa: ANN401
    """With another card; a value of None leaves the key out."""
    merged = {**model.data, **data}
    kept = {key: value for key, value in merged.items() if value is not None}
    return dataclasses.replace(model, data=kept)


def paths(selection: Selection) -> list[str]:
    return sorted(photo.path for photo in selection.photos)


def test_the_parts_are_those_of_the_training(
    model: ModelDescription, photos: Path, parts: Parts
) -> None:
    for part in ("training", "validation", "test"):
        chosen = select(model, photos, part)
        assert paths(chosen) == getattr(parts, part)
        assert (chosen.part, chosen.layout) == (part, "pets")
        assert chosen.split_hash == model.data["split_hash"]
        assert set(chosen.undecodable) == {BROKEN}
    assert select(model, photos, "test").remarks == ()
    (remark,) = select(model, photos, "validation").remarks
    assert "were chosen on these photos" in remark
    (remark,) = select(model, photos, "training").remarks
    assert "has learned from these photos" in remark


def test_all_photos_are_seen_before_in_part(
    model: ModelDescription, photos: Path, parts: Parts
) -> None:
    chosen = select(model, photos, "all")
    assert len(chosen.photos) == EACH * len(COLOURS)
    (remark,) = chosen.remarks
    assert f"has learned from {len(parts.training)} of these" in remark


def test_without_test_photos_it_is_those_of_the_validation_and_says_so(
    model: ModelDescription, photos: Path
) -> None:
    from training.data.layouts import read_dataset
    from training.data.scan import scan
    from training.data.split import split

    dataset = read_dataset("pets", photos)
    made = split(dataset, scan(dataset), 0.25, 0.0, 5)
    chosen = select(told(model, test=0.0, split_hash=made.hash), photos, "test")
    assert paths(chosen) == sorted(photo.path for photo in made.validation)
    assert chosen.part == "validation"
    assert "There are no test photos" in " ".join(chosen.remarks)
    assert "were chosen on these photos" in " ".join(chosen.remarks)


@pytest.mark.parametrize("part", ["test", "validation", "training"])
def test_changed_photos_are_not_called_held_out(
    model: ModelDescription, copy: Path, parts: Parts, part: str
) -> None:
    (copy / parts.test[0]).unlink()
    with pytest.raises(EvaluationError, match=str(model.data["split_hash"])):
        select(model, copy, part)
    chosen = select(model, copy, "all")
    assert len(chosen.photos) == EACH * len(COLOURS) - 1
    assert chosen.split_hash != model.data["split_hash"]
    (remark,) = chosen.remarks
    assert str(model.data["split_hash"]) in remark
    assert str(chosen.split_hash) in remark


@pytest.mark.parametrize(
    ("by", "part", "told_of"),
    [
        ("validation", "validation", "decided by these photos."),
        ("validation", "all", "decided by some of these photos."),
        ("validation", "test", None),
        # As archives of before have it.
        ("test", "test", "decided by these photos."),
        ("test", "validation", None),
    ],
)
def test_photos_that_decided_on_precision_are_told(
    model: ModelDescription, photos: Path, by: str, part: str, told_of: str | None
) -> None:
    measured = dataclasses.replace(model, precisions_by=frozenset({by}))
    chosen = select(measured, photos, part)
    assert chosen.chose_precision == (told_of is not None)
    (*_, last) = ("", *chosen.remarks)
    assert ("less than float32" in last) == (told_of is not None)
    assert last.endswith(told_of or "")


def test_other_photos_did_not_decide_on_precision(
    model: ModelDescription, copy: Path, parts: Parts
) -> None:
    (copy / parts.test[0]).unlink()
    measured = dataclasses.replace(model, precisions_by=frozenset({"validation"}))
    assert not select(measured, copy, "all").chose_precision


@pytest.mark.parametrize("missing", ["seed", "test", "validation", "split_hash"])
def test_a_card_that_does_not_tell_the_split(
    model: ModelDescription, photos: Path, missing: str
) -> None:
    untold = told(model, **{missing: None})
    with pytest.raises(EvaluationError, match="not known; --part all is every photo"):
        select(untold, photos, "test")
    chosen = select(untold, photos, "all")
    # Nothing was scanned: the file that does not decode shows when it is asked for.
    assert len(chosen.photos) == EACH * len(COLOURS) + 1
    assert (chosen.split_hash, dict(chosen.undecodable)) == (None, {})
    (remark,) = chosen.remarks
    assert "is not known" in remark


def test_another_layout_than_that_of_the_training(model: ModelDescription, tmp_path: Path) -> None:
    for name in ("cat.1.jpg", "dog.1.jpg"):
        (tmp_path / name).write_bytes(b"-")
    other = dataclasses.replace(model, classes=("dog", "lion", "cat"))
    with pytest.raises(EvaluationError, match="photos of this layout"):
        select(other, tmp_path, "test", "dogs-vs-cats")
    chosen = select(other, tmp_path, "all", "dogs-vs-cats")
    assert chosen.layout == "dogs-vs-cats"
    named = {photo.path: other.classes[chosen.class_ids[photo.label]] for photo in chosen.photos}
    assert named == {"cat.1.jpg": "cat", "dog.1.jpg": "dog"}


def test_classes_that_the_model_does_not_know_are_left_out(
    model: ModelDescription, copy: Path
) -> None:
    for number in range(3):
        shutil.copy(copy / "pug_0.jpg", copy / f"Sphynx_{number}.jpg")
    chosen = select(model, copy, "all")
    assert len(chosen.photos) == EACH * len(COLOURS)
    assert "Left out: 3 photos of classes that the model does not know (Sphynx)." in chosen.remarks
    none = dataclasses.replace(model, classes=("a", "b"))
    with pytest.raises(EvaluationError, match=r"no photo of the model's classes \(a, b\)"):
        select(none, copy, "all")


@pytest.mark.parametrize(
    ("part", "layout", "message"),
    [
        ("tets", None, "part: 'tets' is not allowed"),
        ("all", "imagefolder", "layout: 'imagefolder' is not allowed"),
    ],
)
def test_unknown_words_are_refused(
    model: ModelDescription, photos: Path, part: str, layout: str | None, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        select(model, photos, part, layout)


def test_a_layout_must_be_known_and_fit(model: ModelDescription, photos: Path) -> None:
    untold = told(model, layout=None)
    with pytest.raises(
        EvaluationError, match=r"photos lie; give --layout, one of .*, pets"
    ) as alone:
        select(untold, photos, "all")
    assert "--part" not in str(alone.value)
    # Else the way would lead from one error to the next.
    both = "nor how they were split, .*; give --part all, .*, and --layout, one of .*, pets"
    with pytest.raises(EvaluationError, match=both):
        select(untold, photos, "test")
    assert select(untold, photos, "all", "pets").photos
    with pytest.raises(DatasetError):
        select(model, photos, "all", "animals-10")
