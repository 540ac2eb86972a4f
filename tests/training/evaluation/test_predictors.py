"""A run and its archive answer every photo alike, and as a service would."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from handlers.archive_format import ArchiveError
from handlers.config import Limits
from handlers.predictions import Timing, probabilities, result
from handlers.preprocessing import Preprocessing
from tests.archives import pack, unpack
from training.archive import archive
from training.evaluation.predictor import Answered, EvaluationError, ModelDescription, Refused
from training.evaluation.predictors import (
    LocalPredictor,
    ServedPredictor,
    described_by_card,
    from_archive,
    from_run,
)
from training.run_folder import RunError, read_run


@pytest.fixture(scope="module")
def packed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive(run, "1.0", tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def files(photos: Path) -> list[bytes]:
    """Photos of all classes, and one that does not decode at the fourth place."""
    return [path.read_bytes() for path in sorted(photos.glob("*.jpg"))]


def test_a_run_and_its_archive_agree_on_every_photo(
    run: Path, packed: Path, files: list[bytes]
) -> None:
    trained, archived = from_run(run), from_archive(packed)
    unsure = []
    for ours, theirs in zip(trained.predict(files), archived.predict(files), strict=True):
        if isinstance(ours, Refused):
            assert theirs == ours
            continue
        assert isinstance(theirs, Answered)
        torch.testing.assert_close(ours.logits, theirs.logits, rtol=0, atol=1e-4)
        assert ours.logits.argmax() == theirs.logits.argmax()
        assert ours.unsure == theirs.unsure
        unsure.append(ours.unsure)
    assert 0 < sum(unsure) < len(unsure) == len(files) - 1
    described = read_run(run)
    for predictor, kind, version in ((trained, "run", None), (archived, "archive", "1.0")):
        model = predictor.model
        assert (model.kind, model.name, model.version) == (kind, "colours", version)
        assert model.classes == tuple(described.classes)
        assert (model.temperature, model.unsure_score) == (1.4, "energy")
        assert model.unsure_threshold == described.unsure_threshold
        assert (model.data, model.git_sha) == (described.data, described.git_sha)
        assert model.sure_precision is described.sure_precision is None
        assert model.has_logits
        assert model.remarks == ()


def test_an_answer_does_not_depend_on_the_other_photos(run: Path, files: list[bytes]) -> None:
    predictor = from_run(run)
    together = predictor.predict(files[:3])
    for photo, answer in zip(files, together, strict=False):
        (alone,) = predictor.predict([photo])
        assert isinstance(alone, Answered)
        assert isinstance(answer, Answered)
        torch.testing.assert_close(alone.logits, answer.logits, rtol=0, atol=1e-4)
    assert predictor.predict([]) == []


def test_what_does_not_decode_is_refused_as_a_service_would(run: Path, files: list[bytes]) -> None:
    predictor = from_run(run)
    good, empty, text, half = predictor.predict([files[0], b"", b"GIF? no", files[0][:300]])
    assert isinstance(good, Answered)
    for refused, word in ((empty, "empty"), (text, "JPEG"), (half, "truncated")):
        assert isinstance(refused, Refused)
        assert word in refused.why


def test_an_archive_with_a_flipped_byte_is_not_run(packed: Path, tmp_path: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[content.index(b"def build") + 4] ^= 1
    (tmp_path / "x.mar").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"architecture\.py"):
        from_archive(tmp_path / "x.mar")


def changed(packed: Path, tmp_path: Path, change: Callable[[Path], object]) -> Path:
    folder = unpack(packed, tmp_path / "content")
    change(folder)
    return pack(folder, tmp_path / "changed.mar", seal=True)


def test_an_archive_is_run_by_its_own_configuration(
    packed: Path, tmp_path: Path, files: list[bytes]
) -> None:
    def configure(folder: Path) -> None:
        path = folder / "model-config.yaml"
        settings = yaml.safe_load(path.read_text()) or {}
        section = {"limits": {"pixels": 2000}}
        path.write_text(yaml.safe_dump({**settings, "catbreeds": section}))

    predictor = from_archive(changed(packed, tmp_path, configure))
    (answer,) = predictor.predict(files[:1])
    assert isinstance(answer, Refused)
    assert "at most 2000" in answer.why
    assert predictor.model.remarks == ()


def test_handlers_of_another_version_are_remarked(packed: Path, tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        with (folder / "handlers" / "preprocessing.py").open("a") as file:
            file.write("# of another version\n")

    (remark,) = from_archive(changed(packed, tmp_path, change)).model.remarks
    assert "preprocessing.py" in remark


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"x"), "weights.safetensors"),
        (lambda folder: (folder / "model-config.yaml").write_text("{"), "changed.mar"),
        (lambda folder: (folder / "golden" / "00.png").unlink(), "golden"),
    ],
)
def test_an_archive_that_cannot_be_loaded_says_why(
    packed: Path, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        from_archive(changed(packed, tmp_path, change))


def test_an_unusable_run_says_why(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run\.json is missing"):
        from_run(tmp_path)
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(EvaluationError, match=r"weights\.safetensors"):
        from_run(folder)


CARD: dict[str, Any] = {
    "name": "cats",
    "version": "2.0",
    "temperature": 2.0,
    "unsure_score": "max-logit",
    "unsure_threshold": 1.5,
    "sure_precision": 0.9,
    "data": {"layout": "pets"},
    "git_sha": "abc",
}


def served(card: dict[str, Any]) -> ModelDescription:
    return described_by_card(card, "service", "http://127.0.0.1:8080", ("a", "b", "c"))


def answer(*probabilities: float, unsure: bool = False) -> dict[str, Any]:
    listed = [{"class_id": i, "probability": p} for i, p in enumerate(probabilities)]
    return {"predictions": sorted(listed, key=lambda each: -each["probability"]), "unsure": unsure}


def test_a_service_s_answers_give_its_probabilities_back() -> None:
    answers = {b"1": answer(0.2, 0.7, 0.1), b"2": answer(0.999999, 0.0, 0.000001, unsure=True)}
    predictor = ServedPredictor(served(CARD), lambda photo: answers.get(photo, "no such photo"))
    assert not predictor.model.has_logits
    first, second, third = predictor.predict([b"1", b"2", b"3"])
    assert third == Refused("no such photo")
    assert isinstance(first, Answered)
    assert isinstance(second, Answered)
    assert (first.unsure, second.unsure) == (False, True)
    expected = torch.tensor([0.2, 0.7, 0.1])
    assert predictor.model.divisor == 1
    torch.testing.assert_close(first.logits.softmax(0), expected)
    assert second.logits.softmax(0)[0] == pytest.approx(0.999999, abs=1e-6)
    assert second.logits.isfinite().all()


def test_of_equal_probabilities_the_first_listed_stays_first() -> None:
    """The worker has more digits than it tells: what rounding makes equal is still in order."""
    logits = torch.tensor([0.0, 1e-6, -40.0, -39.0])
    bundle = SimpleNamespace(name="m", version="1.0", class_names=("a", "b", "c", "d"))
    told = result(
        bundle,  # type: ignore[arg-type]
        probabilities(logits, 1.0),
        unsure=False,
        top_k=4,
        timing=Timing(0, 0),
        response="predictions",
    )
    assert [each["probability"] for each in told["predictions"]] == [0.5, 0.5, 0, 0]
    model = described_by_card(CARD, "service", "x", bundle.class_names)
    (found,) = ServedPredictor(model, lambda photo: told).predict([b"photo"])
    assert isinstance(found, Answered)
    order = found.logits.argsort(descending=True).tolist()
    assert order == [each["class_id"] for each in told["predictions"]] == [1, 0, 3, 2]
    assert len(set(found.logits.tolist())) == 4
    torch.testing.assert_close(found.logits.softmax(0), torch.tensor([0.5, 0.5, 0.0, 0.0]))


def test_many_classes_of_no_probability_stay_next_to_none() -> None:
    many = [{"class_id": i, "probability": float(i == 0)} for i in range(1000)]
    model = described_by_card(CARD, "service", "x", tuple(map(str, range(1000))))
    served_answer = {"predictions": many, "unsure": False}
    (found,) = ServedPredictor(model, lambda photo: served_answer).predict([b"photo"])
    assert isinstance(found, Answered)
    assert found.logits.argsort(descending=True, stable=True).tolist() == list(range(1000))
    assert float(found.logits.softmax(0)[0]) == pytest.approx(1, abs=2e-4)


def test_a_service_that_leaves_classes_out_is_refused() -> None:
    predictor = ServedPredictor(served(CARD), lambda photo: answer(0.6, 0.4))
    with pytest.raises(EvaluationError, match="answers 2 of 3 classes"):
        predictor.predict([b"photo"])


def test_a_gateway_s_card_tells_less() -> None:
    short = {key: CARD[key] for key in ("name", "version", "unsure_threshold")}
    model = served(short)
    assert (model.temperature, model.unsure_score, dict(model.data)) == (None, None, {})
    (found,) = ServedPredictor(model, lambda photo: answer(0.5, 0.3, 0.2)).predict([b"photo"])
    assert isinstance(found, Answered)
    torch.testing.assert_close(found.logits.softmax(0), torch.tensor([0.5, 0.3, 0.2]))


def test_a_card_tells_what_its_threshold_was_chosen_for_and_what_readers_must_know() -> None:
    model = served(CARD | {"data": {"remarks": ["Mind the gap."]}})
    assert (model.sure_precision, model.remarks) == (0.9, ("Mind the gap.",))
    older = {key: value for key, value in CARD.items() if key != "sure_precision"}
    assert (served(older).sure_precision, served(older).remarks) == (None, ())


def test_a_local_model_must_name_its_score() -> None:
    untold = dataclasses.replace(served(CARD), unsure_score=None)
    preprocessing = Preprocessing((32, 32), None, "bilinear", (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(EvaluationError, match="unsure_score"):
        LocalPredictor(untold, preprocessing, Limits(), lambda batch: batch)


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(EvaluationError, match="'odin' is not allowed"):
        served(CARD | {"unsure_score": "odin"})
