"""Clients for TorchServe's gRPC APIs.

The definitions lie inside the installed model-server.jar; the stubs are made from them when a test
first asks, so that they are always those of the TorchServe under test, and nothing generated is
committed.
"""

from __future__ import annotations

import functools
import importlib
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import grpc_tools
from grpc_tools import protoc

_PROTOS = (
    "inference.proto",
    "management.proto",
    "open_inference_grpc.proto",
    "google/rpc/status.proto",
)
_TIMEOUT_S = 60


@functools.cache
def stubs() -> Mapping[str, ModuleType]:
    """The generated modules: `inference_pb2`, `inference_pb2_grpc` and so on."""
    names = [f"{Path(proto).stem}_pb2{suffix}" for proto in _PROTOS[:3] for suffix in ("", "_grpc")]
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(model_server_jar()) as jar:
            jar.extractall(folder, _PROTOS)
        well_known = Path(grpc_tools.__file__).parent / "_proto"
        arguments = ("protoc", f"-I{folder}", f"-I{well_known}")
        outputs = (f"--python_out={folder}", f"--grpc_python_out={folder}")
        if protoc.main([*arguments, *outputs, *_PROTOS]) != 0:
            raise RuntimeError("protoc does not take TorchServe's definitions")
        sys.path.insert(0, folder)
        try:
            return {name: importlib.import_module(name) for name in names}
        finally:
            sys.path.remove(folder)


def model_server_jar() -> Path:
    """TorchServe's Java part."""
    spec = find_spec("ts")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package torchserve is not installed")
    return Path(spec.origin).parent / "frontend" / "model-server.jar"


class InferenceApi:
    """The inference API's gRPC address.

    Args:
        address: host:port.
        token: sent as a bearer token in the metadata; None sends none.
    """

    def __init__(self, address: str, token: str | None) -> None:
        self._metadata = _metadata(token)
        self._channel = grpc.insecure_channel(address)
        self._service = stubs()["inference_pb2_grpc"].InferenceAPIsServiceStub(self._channel)
        self._open = stubs()["open_inference_grpc_pb2_grpc"].GRPCInferenceServiceStub(self._channel)

    def __enter__(self) -> InferenceApi:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def predict(self, model: str, fields: Mapping[str, bytes], version: str = "") -> bytes:
        """The body of a `Predictions` answer."""
        request = _prediction_request(model, fields, version)
        answer = self._service.Predictions(request, metadata=self._metadata, timeout=_TIMEOUT_S)
        return bytes(answer.prediction)

    def stream(self, model: str, fields: Mapping[str, bytes]) -> list[bytes]:
        """The bodies of all answers to one `StreamPredictions` call."""
        request = _prediction_request(model, fields, "")
        call = self._service.StreamPredictions(request, metadata=self._metadata, timeout=_TIMEOUT_S)
        return [bytes(answer.prediction) for answer in call]

    def ping(self) -> str:
        """Health in TorchServe's words."""
        empty = importlib.import_module("google.protobuf.empty_pb2").Empty()
        return str(self._service.Ping(empty, metadata=self._metadata, timeout=_TIMEOUT_S).health)

    def open(self, method: str, request: object) -> Any:  # noqa: ANN401 - a generated message
        """Call a method of the Open Inference Protocol."""
        return getattr(self._open, method)(request, metadata=self._metadata, timeout=_TIMEOUT_S)


def describe(address: str, token: str | None, model: str) -> str:
    """The management API's description of a model with its card, as JSON text."""
    request = stubs()["management_pb2"].DescribeModelRequest(model_name=model, customized=True)
    with grpc.insecure_channel(address) as channel:
        service = stubs()["management_pb2_grpc"].ManagementAPIsServiceStub(channel)
        answer = service.DescribeModel(request, metadata=_metadata(token), timeout=_TIMEOUT_S)
    return str(answer.msg)


def _prediction_request(model: str, fields: Mapping[str, bytes], version: str) -> object:
    message = stubs()["inference_pb2"].PredictionsRequest
    return message(model_name=model, model_version=version, input=fields)


def _metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()
