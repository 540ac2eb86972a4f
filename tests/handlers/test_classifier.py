from __future__ import annotations

import base64
import dataclasses
import io
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from handlers import classifier as classifier_module
from handlers.bundle import Bundle, load_bundle
from handlers.classifier import Answer, Classifier, Item
from handlers.config import EngineName, HandlerConfig, Limits, Precision
from handlers.engines import Machine
from handlers.images import decode_image
from handlers.metrics import Metrics

PNG_FILES = []
for colour in ("red", "lime", "blue", "white", "black", "orange", "teal", "pink"):
    file = io.BytesIO()
    Image.new("RGB", (40, 36), colour).save(file, "PNG")
    PNG_FILES.append(file.getvalue())
PHOTO = PNG_FILES[0]
B64 = base64.b64encode(PHOTO).decode()


class Engine:
    """Logits of the tiny model; remembers its batches and fails where it is told to."""

    name: EngineName = "torch"
    precision: Precision = "f32"

    def __init__(self, bundle: Bundle) -> None:
        self.model = bundle.model
        self.batches: list[int] = []
        self.fails: Callable[[torch.Tensor], bool] = lambda batch: False

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(batch))
        if self.fails(batch):
            raise RuntimeError("the engine broke")
        with torch.inference_mode():
            logits: torch.Tensor = self.model(batch)
            return logits


@pytest.fixture(scope="module")
def bundle(sealed_model_dir: Path) -> Bundle:
    return load_bundle(sealed_model_dir)


@pytest.fixture
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle)


Make = Callable[..., Classifier]


@pytest.fixture
def make(bundle: Bundle, engine: Engine) -> Make:
    def make(batch_size: int = 8, threads: int = 1, **settings: Any) -> Classifier:  # noqa: ANN401
        machine = Machine(threads, batch_size=batch_size)
        config = HandlerConfig(**settings)
        return Classifier(bundle, engine, config, Metrics(None, "tiny", "1.0"), machine)

    return make


def item(fields: dict[str, Any], **options: Any) -> Item:  # noqa: ANN401
    return Item(fields, {}, "id-1", **options)


def photos(count: int) -> list[Item]:
    return [item({"body": PNG_FILES[i % len(PNG_FILES)]}) for i in range(count)]


def statuses(answers: Sequence[Answer]) -> list[int]:
    return [answer.status for answer in answers]


def test_probabilities_are_a_plain_softmax_at_the_card_s_temperature(
    make: Make, bundle: Bundle
) -> None:
    fields = [{"body": photo, "top_k": b"6"} for photo in PNG_FILES]
    for photo, answer in zip(PNG_FILES, make().answer([item(f) for f in fields]), strict=True):
        tensor = bundle.preprocessing(decode_image(photo, Limits()))
        with torch.no_grad():
            expected = torch.softmax(bundle.model(tensor[None])[0] / 1.5, 0)
        entries = answer.body["predictions"]
        assert sum(entry["probability"] for entry in entries) == pytest.approx(1, abs=1e-5)
        for entry in entries:
            assert entry["breed"] == bundle.class_names[entry["class_id"]]
            assert entry["probability"] == pytest.approx(
                float(expected[entry["class_id"]]), abs=1e-4
            )


def test_top_k_has_a_default_and_limits(make: Make) -> None:
    def listed(answer: Answer) -> int:
        return len(answer.body["predictions"])

    assert listed(make().answer(photos(1))[0]) == 5
    assert listed(make(default_top_k=2).answer(photos(1))[0]) == 2
    assert listed(make(default_top_k=99).answer(photos(1))[0]) == 6
    limited = make(limits=Limits(top_k=3))
    assert listed(limited.answer(photos(1))[0]) == 3
    (refused,) = limited.answer([item({"body": PHOTO, "top_k": b"4"})])
    assert refused.status == 422
    assert "from 1 to 3" in refused.body["detail"]


def test_all_photos_of_all_requests_share_batches_of_limited_size(
    make: Make, engine: Engine
) -> None:
    several = item({"body": json.dumps({"instances": [{"b64": B64}] * 4}).encode()})
    answers = make(batch_size=3).answer([*photos(2), several, *photos(1)])
    assert statuses(answers) == [200] * 4
    assert engine.batches == [3, 3, 1]
    assert len(answers[2].body["predictions"]) == 4


def test_a_photo_s_answer_does_not_depend_on_its_batch(make: Make) -> None:
    together = make().answer(photos(8))
    alone = [make().answer([one])[0] for one in photos(8)]
    for ours, theirs in zip(together, alone, strict=True):
        pairs = zip(ours.body["predictions"], theirs.body["predictions"], strict=True)
        for entry, other in pairs:
            assert entry["class_id"] == other["class_id"]
            assert entry["probability"] == pytest.approx(other["probability"], abs=2e-6)


def test_a_photo_that_breaks_inference_harms_no_other(
    make: Make, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    # Blue is the third photo.
    engine.fails = lambda batch: bool(
        (batch[:, :2].amax((1, 2, 3)) == -1).logical_and(batch[:, 2].amin((1, 2)) == 1).any()
    )
    with caplog.at_level(logging.ERROR):
        answers = make().answer(photos(4))
    assert statuses(answers) == [200, 200, 500, 200]
    assert engine.batches == [4, 1, 1, 1, 1]
    assert answers[2].is_problem
    assert answers[2].body["type"] == "urn:catbreeds:problem:internal-error"
    assert answers[2].body["request_id"] == "id-1"
    assert "the engine broke" not in json.dumps(answers[2].body)
    assert "the engine broke" in caplog.text


def test_logits_that_are_not_finite_are_one_photo_s_internal_error(
    make: Make, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logits(batch: torch.Tensor) -> torch.Tensor:
        rows = torch.zeros(len(batch), 6)
        rows[1, 3] = float("nan")
        return rows

    monkeypatch.setattr(engine, "logits", logits)
    assert statuses(make().answer(photos(3))) == [200, 500, 200]


@pytest.mark.parametrize("name", ["parse_request", "decode_photo", "result"])
def test_an_unforeseen_error_is_an_internal_error_with_a_traceback_in_the_log(
    make: Make, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: object) -> None:
        raise KeyError("unforeseen")

    monkeypatch.setattr(classifier_module, name, fail)
    with caplog.at_level(logging.ERROR):
        (answer,) = make().answer(photos(1))
    assert answer.status == 500
    (record,) = caplog.records
    assert record.exc_info
    assert "id-1" in record.getMessage()


def v1(*instances: object) -> Item:
    return item({"body": {"instances": list(instances)}})


def v2(*data: str, **options: Any) -> Item:  # noqa: ANN401
    tensor = {"name": "x", "datatype": "BYTES", "shape": [len(data)], "data": list(data)}
    return item({"body": {"inputs": [tensor], "id": "a"}}, **options)


BAD = base64.b64encode(b"no photo").decode()


def test_kserve_forms_answer_each_photo_on_its_own(make: Make) -> None:
    for answer in make().answer([v1({"b64": BAD}, {"b64": B64}, {"b64": "!"}), v2(BAD, B64, "!")]):
        assert answer.status == 200
        assert not answer.is_problem
        entries = answer.body.get("predictions") or [
            json.loads(entry) for entry in answer.body["outputs"][0]["data"]
        ]
        assert [entry.get("status", 200) for entry in entries] == [415, 200, 400]
        assert entries[1]["model"] == "tiny"
        assert entries[0]["request_id"] == "id-1"
        assert entries[2]["detail"].startswith(("instances[2]: ", "inputs[0].data[2]: "))


def test_the_pixels_of_all_photos_of_a_request_are_limited_together(make: Make) -> None:
    two_photos = Limits(pixels=2 * 40 * 36)
    first, other = make(limits=two_photos).answer([v1(*[{"b64": B64}] * 3), v1({"b64": B64})])
    results = first.body["predictions"]
    assert ["status" in entry for entry in results] == [False, False, True]
    assert results[2]["status"] == 413
    assert results[2]["detail"].startswith("instances[2]: photo: 40 x 36 = 1440 pixels")
    # Another request of the batch has its own.
    assert "status" not in other.body["predictions"][0]


def test_kserve_forms_without_a_good_photo_answer_the_first_problem(make: Make) -> None:
    first, second = make().answer([v1({"b64": BAD}, {"b64": "!"}), v2("!", BAD)])
    assert (first.status, first.is_problem) == (415, True)
    assert first.body["detail"].startswith("instances[0]: photo: ")
    assert (second.status, second.is_problem) == (400, True)
    assert second.body["detail"].startswith("inputs[0].data[0]: b64: ")


def test_an_answer_that_needs_its_envelope_always_has_it(make: Make) -> None:
    requests = [
        v2("!", needs_envelope=True),
        item({"body": {"inputs": []}}, needs_envelope=True),
        item({}, needs_envelope=True),
    ]
    for answer in make().answer(requests):
        assert answer.body["model_name"] == "tiny"
        assert answer.body["model_version"] == "1.2"
        assert isinstance(answer.body["id"], str)
        (entry,) = answer.body["outputs"][0]["data"]
        assert json.loads(entry)["status"] == 400


def test_labels_stand_in_the_envelopes_too(make: Make) -> None:
    plain, enveloped = make(response="labels", default_top_k=2).answer(
        [*photos(1), v1({"b64": B64})]
    )
    assert len(plain.body) == 2
    assert all(isinstance(value, float) for value in plain.body.values())
    assert enveloped.body == {"predictions": [plain.body]}


def test_explanations(make: Make, engine: Engine) -> None:
    plain = item({"body": PHOTO}, wants_explanation=True)
    chosen = item({"body": {"image": B64, "class": "Sphynx"}}, wants_explanation=True)
    by_field = item({"data": PHOTO, "class": b"4"}, wants_explanation=True)
    several = dataclasses.replace(v1({"b64": B64}, {"b64": BAD}), wants_explanation=True)
    answers = make().answer([plain, chosen, by_field, several])
    assert statuses(answers) == [200] * 4
    assert not engine.batches
    assert {"class", "grid", "heatmap"} < answers[0].body.keys()
    assert answers[1].body["class"]["breed"] == "Sphynx"
    assert answers[2].body == answers[1].body
    assert answers[3].body["predictions"][0] == answers[0].body
    assert answers[3].body["predictions"][1]["status"] == 415


@pytest.mark.parametrize(
    ("fields", "explanation", "word"),
    [
        ({"body": PHOTO, "class": b"4"}, False, "class"),
        ({"body": PHOTO, "top_k": b"4"}, True, "top_k"),
        ({"body": PHOTO, "class": b"Lion"}, True, "'Lion'"),
    ],
)
def test_an_option_of_the_other_route_is_refused(
    make: Make, fields: dict[str, Any], explanation: bool, word: str
) -> None:
    (answer,) = make().answer([item(fields, wants_explanation=explanation)])
    assert answer.status == 422
    assert word in answer.body["detail"]


def test_an_empty_batch_has_no_answers(make: Make, engine: Engine) -> None:
    assert make().answer([]) == []
    assert not engine.batches


def test_decoding_beside_the_network_gives_the_same_answers(make: Make, engine: Engine) -> None:
    bad = item({"body": b"no photo"})
    several = v1(*[{"b64": B64}] * 3, {"b64": BAD})
    items = [*photos(5), bad, several, *photos(2)]
    side_by_side = make(batch_size=3, threads=3).answer(items)
    batches, engine.batches = engine.batches, []
    in_turn = make(batch_size=3, threads=1).answer(items)
    assert batches == engine.batches
    assert statuses(side_by_side) == [200] * 5 + [415] + [200] * 3
    for ours, theirs in zip(side_by_side, in_turn, strict=True):
        assert without_times(ours.body) == without_times(theirs.body)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_side_by_side_too_the_photos_of_a_request_share_its_limit_on_pixels(
    make: Make, batch_size: int
) -> None:
    classifier = make(batch_size, threads=4, limits=Limits(pixels=2 * 40 * 36))
    (answer,) = classifier.answer([v1(*[{"b64": B64}] * 4)])
    assert ["status" in entry for entry in answer.body["predictions"]] == [False, False, True, True]


def test_the_limit_on_pixels_is_about_the_file_however_it_is_decoded(make: Make) -> None:
    file = io.BytesIO()
    Image.new("RGB", (600, 500), "teal").save(file, "JPEG")  # decoded at a half for 36 px
    large = base64.b64encode(file.getvalue()).decode()
    first, _ = make(limits=Limits(pixels=400_000)).answer(
        [v1({"b64": large}, {"b64": large}), v1()]
    )
    refused = first.body["predictions"][1]
    assert refused["status"] == 413
    assert refused["detail"].startswith("instances[1]: photo: 600 x 500 = 300000 pixels")


def without_times(body: Any) -> Any:  # noqa: ANN401
    if isinstance(body, dict):
        return {key: without_times(value) for key, value in body.items() if key != "timing_ms"}
    return [without_times(each) for each in body] if isinstance(body, list) else body
