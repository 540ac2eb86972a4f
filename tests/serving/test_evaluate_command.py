"""A run, its archive, TorchServe and a gateway: the same photos, the same figures."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from handlers.predictions import probabilities
from serving import evaluate_command as command
from serving.evaluate_command import UnknownSourceError, evaluate_command
from serving.inference import ServiceError
from serving.management import ModelNotFound
from serving.served_model import ServedModel, ServedModelError
from tests.archives import describe_as, pack, registered, unpack
from tests.service import DEMO, Service
from tests.web.gateway_process import GatewayProcess
from training.evaluation.predictor import Answered, EvaluationError, Predictor
from training.evaluation.predictors import (
    ServedPredictor,
    described_by_card,
    from_archive,
    from_run,
)

# Answers hold six digits, and a batch or a folded convolution moves the last of them.
DIGITS = 2e-5


def evaluated(source: str, data: Path, out: Path, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """evaluation.json of all photos."""
    code = evaluate_command(source, data, "all", None, "cat-breeds", out, True, **options)
    assert code == 0
    found: dict[str, Any] = json.loads((out / "evaluation.json").read_text())
    return found


def served_predictor(url: str) -> ServedPredictor:
    served = ServedModel.find(url, DEMO, None)
    card = described_by_card(served.card, "service", url, served.classes())
    return ServedPredictor(card, served.ask)


def answered(predictor: Predictor, photos: list[bytes]) -> list[Answered]:
    answers = predictor.predict(photos)
    good = [answer for answer in answers if isinstance(answer, Answered)]
    assert len(good) == len(answers)
    return good


def test_each_photo_has_the_same_answer_everywhere(
    service: Service, demo_run: Path, demo_archive: Path, unseen_cats: Path
) -> None:
    photos = [path.read_bytes() for path in sorted(unseen_cats.glob("images/*/*.jpg"))]
    run, archived = from_run(demo_run), from_archive(demo_archive)
    served = served_predictor(service.server.inference_url)
    assert served.model.classes == archived.model.classes == run.model.classes
    assert served.model.data == archived.model.data == run.model.data
    assert (served.model.name, served.model.version) == (DEMO, "0.1")
    temperature = run.model.temperature
    assert temperature == served.model.temperature
    assert temperature is not None
    everywhere = [answered(each, photos) for each in (run, archived, served)]
    divisors = [each.model.divisor for each in (run, archived, served)]
    assert divisors == [temperature, temperature, 1]
    for answers in zip(*everywhere, strict=True):
        ours, *others = answers
        expected = probabilities(ours.logits, temperature)
        for other, divisor in zip(others, divisors[1:], strict=True):
            probability = probabilities(other.logits, divisor)
            assert int(probability.argmax()) == int(expected.argmax())
            assert float((probability - expected).abs().max()) < DIGITS
            assert other.unsure == ours.unsure


def test_the_figures_are_the_same_everywhere(
    service: Service,
    gateway: GatewayProcess,
    demo_run: Path,
    demo_archive: Path,
    unseen_cats: Path,
    tmp_path: Path,
) -> None:
    url = service.server.inference_url
    run = evaluated(str(demo_run), unseen_cats, tmp_path / "run")
    assert run["headline"]["top1"] > 0.9
    sources = {"archive": str(demo_archive), "torchserve": url, "gateway": gateway.url}
    for name, source in sources.items():
        found = evaluated(source, unseen_cats, tmp_path / name)
        assert found["headline"] == run["headline"]
        assert found["confusion"] == run["confusion"]
        assert found["unsure"]["bought"] == run["unsure"]["bought"]
        error = found["calibration"]["error_after"]
        assert error == pytest.approx(run["calibration"]["error_after"], abs=1e-4)
        error = found["calibration"]["error_before"]
        if name == "archive":
            assert error == pytest.approx(run["calibration"]["error_before"], abs=1e-4)
        else:
            assert error is None
        told = "A gateway does not tell" not in " ".join(found["remarks"])
        assert told == (found["calibration"]["temperature"] is not None) == (name != "gateway")


@pytest.fixture
def few(unseen_cats: Path, tmp_path: Path) -> Path:
    """Photos of two breeds, one of which is no photo."""
    folder = tmp_path / "few"
    for breed in ("Siamese", "Bengal"):
        shutil.copytree(unseen_cats / "images" / breed, folder / "images" / breed)
    shutil.copytree(unseen_cats / "data", folder / "data")
    (folder / "images" / "Bengal" / "7_1.jpg").write_text("no photo")
    return folder


def test_main_figures_are_printed_and_the_report_lies_where_it_says(
    demo_run: Path,
    demo_archive: Path,
    few: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    run = Path(shutil.copytree(demo_run, tmp_path / "run"))
    outside = Path(shutil.copytree(few / "images" / "Siamese", tmp_path / "outside"))
    assert evaluate_command(str(run), few, "all", outside, "cat-breeds", None, False) == 0
    shown = capsys.readouterr().out
    found = json.loads((run / "evaluation" / "evaluation.json").read_text())
    for each in found["outside"]["comparison"]["scores"]:
        line = next(line for line in shown.splitlines() if f"by {each['score']} " in line)
        assert f" {each['outside_unsure']:.1%} " in line
        assert "where 95% of the right answers are kept" in line
        assert ("the best" in line) == (each["score"] == found["outside"]["comparison"]["best"])
    assert f"{DEMO}: 12 photos (all); 1 files of the folder have no answer" in shown
    for name in ("Top-1", "Majority baseline", "Macro-F1", "Calibration error", "Outside unsure"):
        assert name in shown
    assert "50.0%" in next(line for line in shown.splitlines() if "Majority" in line)
    assert shown.splitlines()[-1] == str(run / "evaluation" / "evaluation.html")
    assert (run / "evaluation" / "evaluation.html").is_file()
    assert evaluate_command(str(demo_archive), few, "all", None, "cat-breeds", None, True) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["report"] == f"evaluations/{DEMO}-0.1/evaluation.html"
    assert Path(summary["report"]).is_file()
    assert (summary["photos"], summary["not_answered"]) == (12, 1)
    assert summary["outside"] is None


def test_a_script_is_told_how_the_scores_compare(
    demo_run: Path,
    few: Path,
    strangers: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = evaluate_command(str(demo_run), few, "all", strangers, "cat-breeds", tmp_path, True)
    assert code == 0
    summary = json.loads(capsys.readouterr().out)
    found = json.loads((tmp_path / "evaluation.json").read_text())
    comparison = summary["outside"].pop("comparison")
    assert summary["outside"] == {"photos": 4, "unsure": found["outside"]["unsure"]}
    assert comparison.pop("at_least_kept") == 0.95
    assert comparison == found["outside"]["comparison"]
    assert {each["score"] for each in comparison["scores"]} == {
        "probability",
        "max-logit",
        "energy",
    }
    assert comparison["best"] in {each["score"] for each in comparison["scores"]}
    assert summary["unsure"] == {
        **found["unsure"]["bought"],
        "sure_precision": found["unsure"]["sure_precision"],
    }


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """Four plain colours."""
    folder = tmp_path / "strangers"
    folder.mkdir()
    for number, colour in enumerate(("red", "lime", "blue", "white")):
        Image.new("RGB", (40, 40), colour).save(folder / f"{number}.png")
    return folder


def test_a_calibration_error_of_nothing_is_told_as_well(
    demo_run: Path,
    few: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And that the threshold was chosen for so much, beside what came of it."""
    monkeypatch.setenv("COLUMNS", "120")
    described = dataclasses.replace(from_run(demo_run).model, sure_precision=0.9)
    labels = {
        path.read_bytes(): described.classes.index(path.parent.name)
        for path in few.glob("images/*/*.jpg")
    }

    class Sure:
        """Answers rightly, with a probability of 1."""

        model = described

        def predict(self, photos: Sequence[bytes]) -> list[Answered]:
            eye = torch.eye(len(described.classes))
            return [Answered(1000 * eye[labels[photo]], False) for photo in photos]

    monkeypatch.setattr(command, "_predictor", lambda *_: Sure())
    assert evaluate_command("run", few, "all", None, "cat-breeds", tmp_path / "out", False) == 0
    shown = capsys.readouterr().out
    assert "0.0% before scaling" in shown
    assert "100.0% of the others are right; chosen for 90%" in shown


def test_a_service_s_problem_with_a_photo_is_named(
    service: Service, gateway: GatewayProcess, few: Path, tmp_path: Path
) -> None:
    for url in (service.server.inference_url, gateway.url):
        found = evaluated(url, few, tmp_path / "out", model=DEMO, version="0.1")
        (why,) = found["data"]["not_answered"].values()
        assert "not an image format" in why
        assert found["data"]["photos"] == 12
        assert (found["model"]["name"], found["model"]["version"]) == (DEMO, "0.1")


def test_where_nobody_answers_it_is_exit_code_3(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    assert evaluate_command(url, few, "all", None, "cat-breeds", tmp_path, False) == 3
    assert f"{url} does not answer" in capsys.readouterr().err


def test_what_cannot_be_evaluated_says_why(
    service: Service, gateway: GatewayProcess, demo_run: Path, few: Path, tmp_path: Path
) -> None:
    def evaluate(source: str, data: Path = few, **options: str) -> None:
        evaluate_command(source, data, "all", None, "cat-breeds", tmp_path, True, **options)

    with pytest.raises(UnknownSourceError, match=r"a run folder, a \.mar or an address"):
        evaluate(str(tmp_path / "nothing.mar"))
    with pytest.raises(UnknownSourceError, match="no such folder of photos"):
        evaluate(str(demo_run), data=tmp_path / "nothing")
    with pytest.raises(ModelNotFound):
        evaluate(service.server.inference_url, model="dogs")
    with pytest.raises(ServiceError) as refused:
        evaluate(gateway.url, model=DEMO, version="9.9")
    assert refused.value.status == 404
    with pytest.raises(ServedModelError, match="'dogs' is not served"):
        evaluate(gateway.url, model="dogs")
    # One that is there would silently be another's figures.
    with pytest.raises(UnknownSourceError, match=f"--model {DEMO}: only of a service"):
        evaluate(str(demo_run), model=DEMO)
    with pytest.raises(UnknownSourceError, match=r"--version 0\.1: only of a service"):
        evaluate(str(demo_run), version="0.1")
    with pytest.raises(EvaluationError, match=r"give --part all, .*, and --layout, one of"):
        evaluate_command(gateway.url, few, "test", None, None, tmp_path, True)


def test_a_server_without_a_record_is_refused(
    service: Service, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATBREEDS_STATE", str(tmp_path / "state"))
    with pytest.raises(ServedModelError, match="the archive itself can be evaluated"):
        evaluate_command(service.server.inference_url, few, "all", None, None, tmp_path, True)


@pytest.fixture
def labels_only(
    service: Service, model_store: Path, demo_archive: Path, tmp_path: Path
) -> Iterator[str]:
    """A model that answers as TorchServe's own image classifiers do."""
    folder = unpack(demo_archive, tmp_path / "labels")
    config = yaml.safe_load((folder / "model-config.yaml").read_text())
    config["catbreeds"] = {"response": "labels"}
    (folder / "model-config.yaml").write_text(yaml.safe_dump(config))
    describe_as(folder, "labels-only", "1.0")
    archive = pack(folder, model_store / "labels-only-1.0.mar", seal=True)
    with registered(service, archive, "labels-only", "1.0"):
        yield "labels-only"


@pytest.fixture
def ten_at_most(
    service: Service, model_store: Path, demo_archive: Path, tmp_path: Path
) -> Iterator[str]:
    """A model that never tells more than ten of its classes."""
    folder = unpack(demo_archive, tmp_path / "ten")
    config = yaml.safe_load((folder / "model-config.yaml").read_text())
    config["catbreeds"] = {"limits": {"top_k": 10}}
    (folder / "model-config.yaml").write_text(yaml.safe_dump(config))
    describe_as(folder, "ten-at-most", "1.0")
    archive = pack(folder, model_store / "ten-at-most-1.0.mar", seal=True)
    with registered(service, archive, "ten-at-most", "1.0"):
        yield "ten-at-most"


def test_a_service_that_may_not_tell_all_classes_is_told_of(
    service: Service, ten_at_most: str, few: Path, tmp_path: Path
) -> None:
    url = service.server.inference_url
    with pytest.raises(ServedModelError, match=r"`limits\.top_k`.*its archive can be evaluated"):
        evaluate_command(url, few, "all", None, "cat-breeds", tmp_path, True, ten_at_most)


def test_labels_alone_are_refused(
    service: Service, labels_only: str, few: Path, tmp_path: Path
) -> None:
    url = service.server.inference_url
    with pytest.raises(ServedModelError, match="labels alone"):
        evaluate_command(url, few, "all", None, "cat-breeds", tmp_path, True, labels_only)


def test_a_service_that_fails_is_no_fault_of_a_photo(service: Service, cat_photo: bytes) -> None:
    served = ServedModel.find(service.server.inference_url, DEMO, None)
    assert isinstance(served.ask(b"no photo"), str)
    assert not isinstance(served.ask(cat_photo), str)
    gone = ServedModel(served.client, "dogs", "1.0", served.card)
    with pytest.raises(ServiceError) as refused:
        gone.ask(cat_photo)
    assert refused.value.status == 404
