"""gRPC answers what HTTP answers; a problem is in the body, as gRPC has no HTTP status."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from PIL import Image

from serving import state
from serving.server import Server
from serving.settings import DEFAULT_CONFIG, Ports
from tests.service import BATCHING, DEMO, R50, Service
from tests.serving.grpc_stubs import InferenceApi, describe, stubs

Fields = dict[str, bytes]


@pytest.fixture(scope="module")
def api(service: Service) -> Iterator[InferenceApi]:
    with InferenceApi(service.server.grpc, service.token()) as opened:
        yield opened


def _json_bytes(body: object) -> bytes:
    return json.dumps(body).encode()


def _base64(photo: bytes) -> str:
    return base64.b64encode(photo).decode()


def _kserve_v2(photo: bytes) -> dict[str, Any]:
    tensor = {"name": "photo", "datatype": "BYTES", "shape": [1], "data": [_base64(photo)]}
    return {"inputs": [tensor], "parameters": {"top_k": 3}}


def _unwrap_v2(answer: Any) -> Any:  # noqa: ANN401 - parsed JSON
    return json.loads(answer["outputs"][0]["data"][0])


# Each body form: how a photo becomes the call's input, and where the result stands in the answer.
FORMS: dict[str, tuple[Callable[[bytes], Fields], Callable[[Any], Any]]] = {
    "image": (lambda p: {"data": p, "top_k": b"3"}, lambda answer: answer),
    "image under body": (lambda p: {"body": p, "top_k": b"3"}, lambda answer: answer),
    "json": (
        lambda p: {"data": _json_bytes({"image": _base64(p), "top_k": 3})},
        lambda answer: answer,
    ),
    "json and top_k apart": (
        lambda p: {"data": _json_bytes({"image": _base64(p)}), "top_k": b"3"},
        lambda answer: answer,
    ),
    "kserve v1": (
        lambda p: {
            "data": _json_bytes({"instances": [{"b64": _base64(p)}], "parameters": {"top_k": 3}})
        },
        lambda answer: answer["predictions"][0],
    ),
    "kserve v2": (lambda p: {"data": _json_bytes(_kserve_v2(p))}, _unwrap_v2),
}


@pytest.mark.parametrize("model", [DEMO, R50])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gets_the_answer_of_http(
    service: Service, api: InferenceApi, cat_photo: bytes, model: str, form: str
) -> None:
    fields, unwrap = FORMS[form]
    answer = unwrap(json.loads(api.predict(model, fields(cat_photo))))
    files = {"photo": ("cat.jpg", cat_photo), "top_k": ("", b"3")}
    expected = service.post(f"/predictions/{model}", files=files).json()
    assert len(answer["predictions"]) == 3
    _assert_same(answer, expected)


def test_without_top_k_the_model_decides(api: InferenceApi, cat_photo: bytes) -> None:
    assert len(json.loads(api.predict(DEMO, {"data": cat_photo}))["predictions"]) == 5


@pytest.mark.parametrize(("model", "version"), [(DEMO, "0.1"), (R50, "1.0")])
def test_a_version_can_be_asked_for(
    api: InferenceApi, cat_photo: bytes, model: str, version: str
) -> None:
    asked = json.loads(api.predict(model, {"data": cat_photo}, version))
    assert asked["version"] == version
    _assert_same(asked, json.loads(api.predict(model, {"data": cat_photo})))


@pytest.mark.parametrize(
    ("model", "version", "said"),
    [(DEMO, "9.9", "Model version: 9.9 does not exist"), ("dogs", "", "Model not found: dogs")],
)
def test_an_unknown_model_or_version_is_named(
    api: InferenceApi, cat_photo: bytes, model: str, version: str, said: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        api.predict(model, {"data": cat_photo}, version)
    # TorchServe has no better code for it than this one.
    assert refused.value.code() is grpc.StatusCode.INTERNAL
    assert said in refused.value.details()


def _huge_png() -> bytes:
    file = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(file, "PNG")
    return file.getvalue()


PROBLEMS: dict[str, tuple[int, Callable[[bytes], Fields]]] = {
    "malformed-request": (400, lambda p: {"data": b'{"image": '}),
    "undecodable-image": (400, lambda p: {"data": p[: len(p) // 3]}),
    "too-large": (413, lambda p: {"data": _huge_png()}),
    "unsupported-image": (415, lambda p: {"data": b"miaow"}),
    "invalid-option": (422, lambda p: {"data": p, "top_k": b"68"}),
}


@pytest.mark.parametrize("slug", PROBLEMS)
def test_a_problem_is_told_in_the_body(
    service: Service, api: InferenceApi, cat_photo: bytes, slug: str
) -> None:
    status, fields = PROBLEMS[slug]
    problem = json.loads(api.predict(DEMO, fields(cat_photo)))
    assert problem["type"] == f"urn:catbreeds:problem:{slug}"
    assert problem["status"] == status
    files = {name: (name, value) for name, value in fields(cat_photo).items()}
    http = service.post(f"/predictions/{DEMO}", files=files)
    assert http.status_code == status
    assert http.json() | {"request_id": None} == problem | {"request_id": None}


def test_a_call_without_input_is_a_problem_too(api: InferenceApi) -> None:
    problem = json.loads(api.predict(DEMO, {}))
    assert problem["status"] == 400
    assert "no photo in it" in problem["detail"]


def test_one_bad_photo_leaves_the_others_their_results(api: InferenceApi, cat_photo: bytes) -> None:
    photos = [cat_photo, b"miaow", cat_photo]
    body = {"instances": [{"b64": _base64(photo)} for photo in photos]}
    first, problem, last = json.loads(api.predict(DEMO, {"data": _json_bytes(body)}))["predictions"]
    assert problem["status"] == 415
    assert problem["detail"].startswith("instances[1]: ")
    _assert_same(first, last)


def test_three_bad_calls_leave_the_other_five_of_a_batch_their_results(
    service: Service, cat_photo: bytes
) -> None:
    good, bad = {"data": cat_photo}, {"data": b"miaow"}
    batch = [good, bad, good, good, bad, bad, good, good]
    with (
        InferenceApi(service.server.grpc, service.token()) as api,
        ThreadPoolExecutor(len(batch)) as pool,
    ):
        answers = [json.loads(a) for a in pool.map(lambda f: api.predict(BATCHING, f), batch)]
    assert [answer.get("status", 200) for answer in answers] == [
        200 if fields is good else 415 for fields in batch
    ]
    for index in (2, 3, 6, 7):
        _assert_same(answers[index], answers[0])


def test_a_stream_has_one_answer_and_leaves_the_worker_alive(
    service: Service, api: InferenceApi, cat_photo: bytes
) -> None:
    worker = service.worker_pid(DEMO, "0.1")
    (answer,) = api.stream(DEMO, {"data": cat_photo})
    _assert_same(json.loads(answer), json.loads(api.predict(DEMO, {"data": cat_photo})))
    (problem,) = api.stream(DEMO, {"data": b"miaow"})
    assert json.loads(problem)["status"] == 415
    assert service.worker_pid(DEMO, "0.1") == worker


@pytest.mark.parametrize("kind", [None, "wrong", "management"])
def test_the_inference_token_is_needed(
    service: Service, cat_photo: bytes, kind: str | None
) -> None:
    token = service.token("management") if kind == "management" else kind
    with InferenceApi(service.server.grpc, token) as api:
        for call in (lambda: api.predict(DEMO, {"data": cat_photo}), api.ping):
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_ping_says_healthy(api: InferenceApi) -> None:
    assert json.loads(api.ping()) == {"status": "Healthy"}


@pytest.mark.parametrize("kind", [None, "inference"])
def test_the_management_token_is_needed_to_manage(service: Service, kind: str | None) -> None:
    token = service.token(kind) if kind else None
    with pytest.raises(grpc.RpcError) as refused:
        describe(_management(service), token, DEMO)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_the_management_api_shows_the_model_card(service: Service) -> None:
    (described,) = json.loads(describe(_management(service), service.token("management"), DEMO))
    (over_http,) = service.manage("GET", f"/models/{DEMO}", {"customized": "true"}).json()
    assert described["modelVersion"] == "0.1"
    assert described["customizedMetadata"] == over_http["customizedMetadata"]


def test_the_open_inference_protocol_is_off(api: InferenceApi, cat_photo: bytes) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        api.open("ModelInfer", _infer_request(cat_photo))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_open_inference_protocol_can_be_switched_on(
    model_store: Path, cat_photo: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATBREEDS_STATE", str(tmp_path / "state"))
    (tmp_path / "store").mkdir()
    shutil.copy(model_store / f"{DEMO}-0.1.mar", tmp_path / "store")
    config = tmp_path / "config.properties"
    config.write_text(DEFAULT_CONFIG.read_text() + "\nts_open_inference_protocol=true\n")
    with Server(tmp_path / "store", config, Ports.free()) as server:
        with InferenceApi(server.grpc, None) as api, pytest.raises(grpc.RpcError) as refused:
            api.open("ModelInfer", _infer_request(cat_photo))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        (worker,) = server.management().describe(DEMO, "0.1").worker_pids
        with InferenceApi(server.grpc, state.read_token(server.folder, "inference")) as api:
            good = api.open("ModelInfer", _infer_request(cat_photo))
            bad = api.open("ModelInfer", _infer_request(b"miaow"))
            # TorchServe hands over no photo for this form of contents.
            raw = _infer_request(cat_photo)
            raw.raw_input_contents.append(raw.inputs[0].contents.bytes_contents.pop())
            unread = api.open("ModelInfer", raw)
            direct = json.loads(api.predict(DEMO, {"data": cat_photo}))
        assert server.management().describe(DEMO, "0.1").worker_pids == (worker,)
    assert (good.model_name, good.model_version, good.id) == (DEMO, "0.1", "seven")
    _assert_same(_infer_result(good), direct)
    assert _infer_result(bad)["status"] == 415
    assert _infer_result(unread)["status"] == 400


def _infer_request(photo: bytes) -> Any:  # noqa: ANN401 - a generated message
    messages = stubs()["open_inference_grpc_pb2"]
    contents = messages.InferTensorContents(bytes_contents=[photo])
    tensor = messages.ModelInferRequest.InferInputTensor(
        name="photo", datatype="BYTES", shape=[1], contents=contents
    )
    return messages.ModelInferRequest(model_name=DEMO, id="seven", inputs=[tensor])


def _infer_result(answer: Any) -> Any:  # noqa: ANN401 - a generated message
    (output,) = answer.outputs
    (text,) = output.contents.bytes_contents
    # TorchServe turns each element into JSON, and our element is JSON already.
    return json.loads(json.loads(text))


def _management(service: Service) -> str:
    return f"127.0.0.1:{service.server.ports.grpc_management}"


def _assert_same(answer: Any, expected: Any) -> None:  # noqa: ANN401 - parsed JSON
    """The same in everything but the time it took; how a batch is made up moves the last digit."""
    assert answer.keys() == expected.keys()
    assert (answer["model"], answer["version"]) == (expected["model"], expected["version"])
    assert answer["unsure"] == expected["unsure"]
    for ours, theirs in zip(answer["predictions"], expected["predictions"], strict=True):
        assert (ours["breed"], ours["class_id"]) == (theirs["breed"], theirs["class_id"])
        assert ours["probability"] == pytest.approx(theirs["probability"], abs=2e-6)
