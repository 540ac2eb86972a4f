"""The handler that TorchServe calls: everything that depends on TorchServe is here.

TorchServe imports the archive's model_service.py, makes its one class and calls `initialize`
once and `handle` for each batch (https://docs.pytorch.org/serve/custom_service.html).
"""

from __future__ import annotations

import ctypes
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import torch
from ts.context import Context

from handlers.bundle import load_bundle
from handlers.checksums import ChecksumError, verify_checksums
from handlers.classifier import Answer, Classifier, Item
from handlers.config import ConfigError, HandlerConfig
from handlers.cores import default_threads
from handlers.engines import GoldenSetError, Machine, choose_engine, set_threads
from handlers.metrics import Metrics
from handlers.network import BundleError
from handlers.problems import PROBLEM_CONTENT_TYPE, InternalError

logger = logging.getLogger(__name__)


class ImageClassifier:
    """Base of an archive's one service class."""

    def __init__(self) -> None:
        """Nothing is loaded yet; TorchServe passes no arguments."""
        self._classifier: Classifier | None = None
        self._card: Mapping[str, Any] = {}

    def initialize(self, context: Context) -> None:
        """Verify and load the archive, choose an engine that passes the golden set, warm up.

        Raises:
            RuntimeError: the archive must not be served; one line says why. TorchServe answers
                this kind with a failed load, and takes others for a crash of the worker.
        """
        _log_to_stderr()
        model_dir = Path(context.system_properties["model_dir"])
        try:
            # Before architecture.py is run and the weights are read. This file is the archive's as
            # well: what guards it is that `catbreeds serve` verifies before it registers.
            verify_checksums(model_dir)
            config = HandlerConfig.from_dict((context.model_yaml_config or {}).get("catbreeds"))
            machine = _machine(context, config)
            set_threads(machine.threads)
            bundle = load_bundle(model_dir)
            engine = choose_engine(bundle, config, machine)
            engine.logits(bundle.golden.inputs[:1])
            if machine.gpu is not None and engine.name == "inductor":
                # The GPU computes; PyTorch's threads would only spin on the cores that decode.
                set_threads(1)
            if engine.name != "torch":
                bundle.release_network()
                _give_back_memory()
        except (ChecksumError, BundleError, ConfigError, GoldenSetError) as error:
            # Logged here as well: what TorchServe makes of the exception is not shown.
            logger.error("%s cannot be loaded: %s", context.model_name, error)
            raise RuntimeError(f"{context.model_name} cannot be loaded: {error}") from None
        except Exception as error:
            logger.exception("%s cannot be loaded", context.model_name)
            raise RuntimeError(f"{context.model_name} cannot be loaded: {error}") from error
        running = {
            "engine": engine.name,
            "precision": engine.precision,
            "threads": machine.threads,
        }
        self._card = {**bundle.card, "running": running}
        self._classifier = Classifier(
            bundle,
            engine,
            config,
            Metrics(context.metrics, context.model_name, context.manifest["model"]["modelVersion"]),
            machine,
        )
        logger.info("%s %s is loaded: %s", bundle.name, bundle.version, running)

    def handle(self, data: Sequence[Mapping[str, Any]] | None, context: Context) -> list[str]:
        """Answer a batch; never raises, as an exception would fail the whole batch with 503.

        Args:
            data: for each request its fields: name -> bytearray, str or parsed JSON.
            context: request ids and headers by index; receives status and content type.

        Returns:
            One JSON text for each request, in order.
        """
        batch = list(data or [])
        try:
            answers = self._answer(batch, context)
        except Exception:
            logger.exception("a batch of %d requests failed", len(batch))
            answers = [
                _internal_error(context.get_request_id(index)) for index in range(len(batch))
            ]
        for index, answer in enumerate(answers):
            content_type = PROBLEM_CONTENT_TYPE if answer.is_problem else "application/json"
            context.set_response_content_type(index, content_type)
            context.set_response_status(answer.status, HTTPStatus(answer.status).phrase, index)
            if _is_grpc(context.get_all_request_header(index)):
                # Without it TorchServe's reply to StreamPredictions fails on a null pointer,
                # which costs the worker its life. HTTP would lose its headers by it.
                context.set_response_header(index, "ts_stream_next", "false")
        return [json.dumps(answer.body) for answer in answers]

    def _answer(self, batch: Sequence[Mapping[str, Any]], context: Context) -> list[Answer]:
        if self._classifier is None:
            raise RuntimeError("handle was called before initialize")
        described: dict[int, Answer] = {}
        items: list[Item] = []
        for index, fields in enumerate(batch):
            headers = context.get_all_request_header(index)
            # TorchServe marks its own describe and explain jobs by these headers, which a client
            # can send as well: they are believed, but for their own request only.
            if headers.get("describe") == "True":
                described[index] = Answer(200, self._card)
            else:
                item = Item(
                    fields,
                    headers,
                    context.get_request_id(index),
                    wants_explanation=headers.get("explain") == "True",
                    needs_envelope=_is_open_inference_grpc(fields, headers),
                )
                items.append(item)
        answers = iter(self._classifier.answer(items))
        return [described[i] if i in described else next(answers) for i in range(len(batch))]


def _give_back_memory() -> None:
    """What glibc keeps of what loading took; it would stay with each worker for ever."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _machine(context: Context, config: HandlerConfig) -> Machine:
    """The worker's share of the machine. TorchServe gives each worker a GPU where there is one."""
    threads = config.threads
    if threads == "auto":
        threads = default_threads((context.model_yaml_config or {}).get("minWorkers"))
    gpu = context.system_properties.get("gpu_id")
    has_gpu = gpu is not None and torch.cuda.is_available()
    return Machine(
        threads=threads,
        gpu=int(gpu) if has_gpu else None,
        batch_size=context.system_properties["batch_size"] or 1,
    )


def _log_to_stderr() -> None:
    """Send this package's log to standard error.

    TorchServe's worker logs to standard output, where its frontend cannot tell an error from the
    several lines that each request writes, so that all of it is usually hidden.
    """
    package = logging.getLogger(__package__)
    if not package.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        handler.setLevel(logging.WARNING)
        package.addHandler(handler)


def _is_grpc(headers: Mapping[str, Any]) -> bool:
    """Whether there are no headers but the content types of fields.

    TorchServe gives every HTTP request at least the header `explain` or `describe`.
    """
    return not any(isinstance(value, str) for value in headers.values())


def _is_open_inference_grpc(fields: Mapping[str, Any], headers: Mapping[str, Any]) -> bool:
    """Whether it is a ModelInfer call, which TorchServe hands over as KServe v2's JSON.

    It reads the answer as KServe v2's as well, and its worker dies where a key is missing. A
    Predictions call can have a field `body` too, but never with a content type.
    """
    body = headers.get("body")
    is_json = isinstance(body, Mapping) and body.get("content-type") == "application/json"
    return is_json and list(fields) == ["body"] and _is_grpc(headers)


def _internal_error(request_id: str | None) -> Answer:
    problem = InternalError("the server's log has the cause under this request_id")
    return Answer(problem.status, problem.to_body(request_id), is_problem=True)
