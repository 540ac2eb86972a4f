from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ts.context import RequestProcessor
from ts.model_loader import list_classes_from_module
from ts.protocol.otf_message_handler import create_predict_response

from handlers.service import ImageClassifier

if TYPE_CHECKING:
    from tests.handlers.conftest import Worker

Start = Callable[..., "Worker"]
HTTP = {"explain": "False", "Host": "localhost"}


def without_timing(answer: tuple[int, Any]) -> tuple[int, Any]:
    answer[1].pop("timing_ms", None)
    return answer


def test_in_a_batch_of_eight_five_are_answered_and_three_have_their_own_problem(
    worker: Worker, photo: bytes
) -> None:
    batch: list[dict[str, Any]] = [
        {"body": bytearray(photo)},
        {"body": bytearray(b"no photo")},
        {"cat": bytearray(photo), "top_k": bytearray(b"2")},
        {"body": bytearray(photo[:60])},
        {"body": {"image": base64.b64encode(photo).decode()}},
        {"body": {"image": base64.b64encode(photo).decode(), "top_k": 0}},
        {"body": bytearray(photo)},
        {"body": bytearray(photo)},
    ]
    answers = worker.handle(batch, [HTTP] * 8)
    assert [status for status, _ in answers] == [200, 415, 200, 400, 200, 422, 200, 200]
    for index, (status, body) in enumerate(answers):
        content_type = worker.context.get_response_content_type(index)
        if status == 200:
            assert content_type == "application/json"
            assert len(body["predictions"]) == (2 if index == 2 else 5)
        else:
            assert content_type == "application/problem+json"
            assert body["status"] == status
            assert body["request_id"] == worker.context.get_request_id(index)


def test_the_same_photo_has_the_same_answer(worker: Worker, photo: bytes) -> None:
    answers = [without_timing(worker.ask({"body": photo})) for _ in range(5)]
    assert answers == answers[:1] * 5
    assert answers[0][1]["unsure"] in (True, False)


def test_torchserve_can_encode_the_answers(worker: Worker, photo: bytes) -> None:
    batch: list[dict[str, Any]] = [
        {"body": photo},
        {"body": b"x"},
        {"body": {"image": "\ud800"}},
    ]
    worker.context.request_processor = [RequestProcessor(dict(HTTP)) for _ in batch]
    worker.context.request_ids = {0: "a", 1: "b", 2: "c"}
    bodies = worker.service.handle(batch, worker.context)
    message = create_predict_response(
        bodies, worker.context.request_ids, "Prediction success", 200, context=worker.context
    )
    assert b"application/problem+json" in message


@pytest.mark.parametrize("batch", [None, [], ()])
def test_an_empty_batch_is_safe(worker: Worker, batch: Sequence[dict[str, Any]] | None) -> None:
    worker.context.request_processor = []
    worker.context.request_ids = {}
    assert worker.service.handle(batch, worker.context) == []


def test_describe_answers_the_model_card(worker: Worker, sealed_model_dir: Path) -> None:
    status, card = worker.ask({}, {"describe": "True", "content-length": "0"})
    assert status == 200
    running = card.pop("running")
    assert running == {"engine": "torch", "precision": "f32", "threads": torch.get_num_threads()}
    assert card == json.loads((sealed_model_dir / "model-card.json").read_text())


def test_headers_of_one_request_touch_no_other(worker: Worker, photo: bytes) -> None:
    headers: list[dict[str, Any]] = [
        HTTP,
        {"describe": "True"},
        {"explain": "True"},
        {"describe": "True", "explain": "True"},
        {"describe": "true", "explain": "yes"},
        {"Describe": "True", "EXPLAIN": "True"},
        # Fields of multipart with such names.
        {"describe": {"content-type": ""}, "explain": {"content-type": "image/png"}},
        {"body": "True", "Content-Type": "application/json; charset=\u0000", "": ""},
    ]
    answers = worker.handle([{"body": photo}] * 8, headers)
    assert [status for status, _ in answers] == [200] * 8
    kinds = [
        "explanation" if "heatmap" in body else "card" if "classes" in body else "prediction"
        for _, body in answers
    ]
    assert kinds == ["prediction", "card", "explanation", "card", *["prediction"] * 4]


def test_grpc_streams_are_told_that_they_end(worker: Worker, photo: bytes) -> None:
    worker.handle([{"data": photo}, {"body": photo}], [{"data": {"content-type": ""}}, dict(HTTP)])
    assert worker.context.get_response_headers(0)["ts_stream_next"] == "false"
    assert "ts_stream_next" not in worker.context.get_response_headers(1)


OPEN_INFERENCE = {"body": {"content-type": "application/json"}}


@pytest.mark.parametrize(
    "body",
    [
        {"model_name": "tiny", "id": "", "inputs": []},
        {"model_name": "tiny", "id": "7", "inputs": [{"datatype": "FP32", "data": [1]}]},
        bytearray(b"not JSON"),
        None,
    ],
)
def test_open_inference_grpc_always_has_the_keys_that_torchserve_reads(
    worker: Worker, body: object
) -> None:
    _, answer = worker.ask({"body": body}, OPEN_INFERENCE)
    assert {"model_name", "model_version", "id", "outputs"} == answer.keys()
    (problem,) = answer["outputs"][0]["data"]
    assert json.loads(problem)["type"].startswith("urn:catbreeds:problem:")
    # The same over HTTP is a plain problem.
    assert worker.ask({"body": body}, OPEN_INFERENCE | HTTP)[1]["status"] == 400


def test_settings_of_the_archive_are_followed(start: Start, photo: bytes) -> None:
    settings = {
        "response": "labels",
        "default_top_k": 2,
        "threads": 1,
        "limits": {"bytes": len(photo), "pixels": 48 * 40, "top_k": 3, "photos": 1},
    }
    worker = start(settings)
    status, labels = worker.ask({"body": photo})
    assert (status, len(labels)) == (200, 2)
    assert worker.ask({"body": photo + b"\0"})[0] == 413
    assert worker.ask({"body": photo, "top_k": b"4"})[0] == 422
    two = {"instances": [{"b64": base64.b64encode(photo).decode()}] * 2}
    assert worker.ask({"body": two})[0] == 413
    small = start({"limits": {"pixels": 48 * 40 - 1}})
    status, problem = small.ask({"body": photo})
    assert status == 413
    assert "at most 1919" in problem["detail"]


def test_metrics_of_a_batch(worker: Worker, photo: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        worker.handle([{"body": photo}, {"body": photo}, {"body": b"x"}, {"body": b"x"}])
    lines = [record.getMessage() for record in caplog.records]
    named = [line.removeprefix("[METRICS]").split(".")[0] for line in lines]
    assert named.count("catbreeds_decode_seconds") == 2
    assert named.count("catbreeds_top1_probability") == 2
    assert named.count("catbreeds_inference_seconds") == 1
    assert named.count("catbreeds_problems_total") == 1
    (problems,) = [line for line in lines if "catbreeds_problems_total" in line]
    assert (
        "Count:2|#ModelName:tiny,ModelVersion:1.0,Level:Model,problem:unsupported-image|"
        in problems
    )


def test_a_reduced_precision_is_served(start: Start, photo: bytes) -> None:
    exact = start({}).ask({"body": photo})[1]["predictions"]
    reduced = start({"precision": "bf16"}).ask({"body": photo})[1]["predictions"]
    assert reduced[0]["class_id"] == exact[0]["class_id"]
    assert reduced[0]["probability"] == pytest.approx(exact[0]["probability"], abs=0.05)


def damage_weights(model_dir: Path) -> None:
    path = model_dir / "weights.safetensors"
    weights = safetensors.torch.load_file(path)
    weights["head.bias"][2] += 5
    safetensors.torch.save_file(weights, path)


@pytest.mark.parametrize(
    ("change", "setting", "message"),
    [
        (damage_weights, {}, "golden set: logits differ by 5, .* refusing to serve"),
        (damage_weights, {"precision": "bf16"}, "golden set: logits differ"),
        (lambda d: (d / "model-card.json").write_text("{}"), {}, "model-card.json: "),
        (lambda d: None, {"limits": {"photo": 1}}, "limits: unknown key 'photo'"),
    ],
)
def test_an_archive_that_must_not_be_served_is_one_line_at_load(
    start: Start,
    model_dir: Path,
    change: Callable[[Path], object],
    setting: dict[str, Any],
    message: str,
) -> None:
    change(model_dir)
    # The kind that TorchServe reports as a failed load.
    with pytest.raises(RuntimeError, match=f"^tiny cannot be loaded: .*{message}") as caught:
        start(setting)
    assert "\n" not in str(caught.value)


def test_a_changed_file_is_refused_before_its_code_runs(start: Start, model_dir: Path) -> None:
    worker = start()
    (model_dir / "architecture.py").write_text("raise SystemExit('this code must not run')")
    with pytest.raises(RuntimeError, match=r"cannot be loaded: architecture\.py: differs"):
        worker.service.initialize(worker.context)


def test_a_failure_of_the_service_itself_is_answered_and_logged_without_the_photo(
    photo: bytes, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    empty = ImageClassifier()
    worker.context.request_processor = [RequestProcessor({}) for _ in range(2)]
    worker.context.request_ids = {0: "a", 1: "b"}
    with caplog.at_level(logging.ERROR):
        bodies = [json.loads(b) for b in empty.handle([{"body": photo}] * 2, worker.context)]
    assert [body["status"] for body in bodies] == [500, 500]
    assert [body["request_id"] for body in bodies] == ["a", "b"]
    assert worker.context.get_response_status(1)[0] == 500
    assert "PNG" not in caplog.text


def test_an_archive_s_service_is_its_module_s_only_class(
    sealed_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(sealed_model_dir))
    import model_service  # type: ignore[import-not-found]

    (service,) = list_classes_from_module(model_service)
    assert issubclass(service, ImageClassifier)


FIELDS = st.dictionaries(
    st.sampled_from(["body", "data", "top_k", "class", "file", "x"]),
    st.binary(max_size=60).map(bytearray) | st.text(max_size=20) | st.integers() | st.none(),
    max_size=3,
)
HEADERS = st.dictionaries(
    st.sampled_from(["body", "data", "explain", "describe", "Content-Type", "top_k"]),
    st.sampled_from(["True", "False", "", "application/json", "multipart/form-data; boundary=x"])
    | st.sampled_from(["image/png", "application/json", ""]).map(lambda v: {"content-type": v}),
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(FIELDS, HEADERS), min_size=1, max_size=4))
def test_any_batch_is_answered_with_200_or_4xx(
    worker: Worker, batch: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    for status, _ in worker.handle([fields for fields, _ in batch], [h for _, h in batch]):
        assert status == 200 or 400 <= status < 500


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    form=st.sampled_from(["raw", "json", "v1", "v2"]),
    changes=st.lists(st.tuples(st.integers(0, 2**13), st.integers(0, 255)), max_size=6),
    end=st.integers(0, 2**13),
    explanation=st.booleans(),
)
def test_mutated_requests_are_answered_with_200_or_4xx(
    worker: Worker,
    photo: bytes,
    form: str,
    changes: list[tuple[int, int]],
    end: int,
    explanation: bool,
) -> None:
    b64 = base64.b64encode(photo).decode()
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [b64]}
    body = bytearray(
        {
            "raw": photo,
            "json": json.dumps({"image": b64}).encode(),
            "v1": json.dumps({"instances": [{"b64": b64}, {"image": {"b64": b64}}]}).encode(),
            "v2": json.dumps({"inputs": [tensor]}).encode(),
        }[form]
    )
    for place, value in changes:
        body[place % len(body)] = value
    if end % 4 == 0:
        del body[end % len(body) :]
    status, _ = worker.ask({"body": body}, {"explain": str(explanation)})
    assert status == 200 or 400 <= status < 500
