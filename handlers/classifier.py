"""Requests -> answers: decode, predict, encode. Knows nothing of TorchServe.

All photos of a batch of requests go through the network together, and still each has its own
result or its own problem.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from handlers.bundle import Bundle
from handlers.config import HandlerConfig
from handlers.engines import Engine, Machine
from handlers.envelopes import envelope
from handlers.explanations import explain
from handlers.images import decode_photo
from handlers.metrics import Metrics
from handlers.predictions import Timing, is_unsure, probabilities, result, top_classes
from handlers.problems import InternalError, InvalidOption, Problem
from handlers.requests import PhotoRequest, parse_request
from handlers.side_by_side import in_chunks

logger = logging.getLogger(__name__)

# Photos that are decoded at once; each of the largest takes some 300 MB meanwhile.
_MOST_DECODERS = 8
_SEE_LOG = "the server's log has the cause under this request_id"


@dataclass(frozen=True)
class Item:
    """One request of a batch.

    Attributes:
        fields: name -> bytes, str or parsed JSON.
        headers: of the request, and {"content-type": ...} for each field.
        request_id: TorchServe's, for the problem's body and the log.
        wants_explanation: rather than a prediction.
        needs_envelope: the answer must be a KServe v2 one, even where it holds only problems.
    """

    fields: Mapping[str, Any]
    headers: Mapping[str, Any]
    request_id: str | None
    wants_explanation: bool = False
    needs_envelope: bool = False

    @property
    def is_probe(self) -> bool:
        """Whether somebody only looks whether there is an answer, every few seconds. In the metrics
        that would drown what the photos of few people show."""
        return bool(self.headers.get("probe") == "True")


@dataclass(frozen=True)
class Answer:
    """Status and body, a JSON object; a problem details object where `is_problem`."""

    status: int
    body: Mapping[str, Any]
    is_problem: bool = False


@dataclass
class _Job:
    """An item on its way: its photos' outcomes are filled in one by one."""

    item: Item
    request: PhotoRequest
    pixels_left: int
    outcomes: list[dict[str, Any] | Problem] = field(default_factory=list)


@dataclass(frozen=True)
class _Photo:
    """A decoded photo that waits for its turn in the network."""

    job: _Job
    number: int
    tensor: torch.Tensor
    decode_seconds: float


class Classifier:
    """Answers batches of requests with one model."""

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        config: HandlerConfig,
        metrics: Metrics,
        machine: Machine,
    ) -> None:
        """Put the parts together.

        Args:
            bundle: the model and its names.
            engine: one that `choose_engine` has tested.
            config: response form, defaults and limits.
            metrics: receives what happens; flushed after each batch.
            machine: its `batch_size` is the most photos that go through the network at once:
                requests can hold many each, and memory must not grow with them. With more than
                one thread photos are decoded side by side.
        """
        self._bundle = bundle
        self._engine = engine
        self._config = config
        self._metrics = metrics
        self._batch_size = machine.batch_size
        decoders = min(machine.threads, _MOST_DECODERS)
        self._pool = ThreadPoolExecutor(decoders) if decoders > 1 else None
        classes = len(bundle.class_names)
        self._most_top_k = min(config.limits.top_k or classes, classes)
        self._default_top_k = min(config.default_top_k, self._most_top_k)

    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """One answer for each item, in order. Whatever an item holds, the others keep theirs."""
        jobs = [self._parse(item) for item in items]
        waiting = [
            (job, number)
            for job in jobs
            if isinstance(job, _Job)
            for number in range(len(job.request.photos))
        ]
        # The photos of one request are decoded in turn, as they share its limit on pixels.
        decoded = in_chunks(
            waiting, self._batch_size, self._decode_all, self._pool, lambda photo: id(photo[0])
        )
        for photos in decoded:
            for photo in photos:
                if photo.job.item.wants_explanation:
                    self._explain(photo)
            asked = [photo for photo in photos if not photo.job.item.wants_explanation]
            if asked:
                self._predict(asked)
        answers = [self._encode(job, item) for job, item in zip(jobs, items, strict=True)]
        self._metrics.flush()
        return answers

    def _parse(self, item: Item) -> _Job | Problem:
        try:
            request = parse_request(
                item.fields, item.headers, self._config.limits, self._most_top_k
            )
            if request.target is not None and not item.wants_explanation:
                raise InvalidOption("class: not allowed here; only /explanations takes it")
            if request.top_k is not None and item.wants_explanation:
                raise InvalidOption("top_k: not allowed here; only /predictions takes it")
        except Problem as problem:
            return problem
        except Exception:
            return _failure("reading a request", item)
        # Until its turn comes, every photo counts as failed: nothing can be left without answer.
        return _Job(
            item,
            request,
            self._config.limits.pixels,
            [InternalError(_SEE_LOG) for _ in request.photos],
        )

    def _decode_all(self, waiting: Sequence[tuple[_Job, int]]) -> list[_Photo]:
        """Those that could be decoded; the others' outcome is settled."""
        decoded = (self._decode(job, number) for job, number in waiting)
        return [photo for photo in decoded if photo is not None]

    def _decode(self, job: _Job, number: int) -> _Photo | None:
        """The decoded photo, or nothing where its outcome is settled already."""
        data = job.request.photos[number]
        try:
            if isinstance(data, Problem):
                raise data
            start = time.perf_counter()
            # The limit is for all photos of a request together: decoding takes seconds for the
            # largest, and a batch of requests has to be done before `responseTimeout`.
            limits = replace(self._config.limits, pixels=max(job.pixels_left, 1))
            preprocessing = self._bundle.preprocessing
            decoded = decode_photo(data, limits, preprocessing.decoded_side)
            job.pixels_left -= decoded.pixels
            tensor = preprocessing(decoded.image)
            seconds = time.perf_counter() - start
            if not job.item.is_probe:
                self._metrics.decoded(seconds)
        except Problem as problem:
            job.outcomes[number] = problem
            return None
        except Exception:
            job.outcomes[number] = _failure("a photo", job.item)
            return None
        return _Photo(job, number, tensor, seconds)

    def _explain(self, photo: _Photo) -> None:
        job = photo.job
        try:
            outcome = explain(self._bundle, photo.tensor[None], job.request.target)
        except Problem as problem:
            job.outcomes[photo.number] = problem
        except Exception:
            job.outcomes[photo.number] = _failure("an explanation", job.item)
        else:
            job.outcomes[photo.number] = outcome

    def _predict(self, photos: Sequence[_Photo]) -> None:
        start = time.perf_counter()
        try:
            logits = self._engine.logits(torch.stack([photo.tensor for photo in photos]))
        except Exception:
            if len(photos) == 1:
                photos[0].job.outcomes[photos[0].number] = _failure("inference", photos[0].job.item)
                return
            logger.exception("inference of %d photos failed; trying them singly", len(photos))
            for photo in photos:
                self._predict([photo])
            return
        seconds = time.perf_counter() - start
        if not all(photo.job.item.is_probe for photo in photos):
            self._metrics.inferred(seconds)
        for photo, row in zip(photos, logits, strict=True):
            try:
                outcome = self._outcome(photo, row, seconds)
            except Exception:
                outcome = _failure("an answer", photo.job.item)
            photo.job.outcomes[photo.number] = outcome

    def _outcome(
        self, photo: _Photo, logits: torch.Tensor, inference_seconds: float
    ) -> dict[str, Any] | Problem:
        request, bundle = photo.job.request, self._bundle
        if not logits.isfinite().all():
            logger.error("request %s: logits are not finite", photo.job.item.request_id)
            return InternalError(_SEE_LOG)
        probability = probabilities(logits, bundle.temperature)
        unsure = is_unsure(bundle, logits)
        best = top_classes(probability, 1)[0]
        if not photo.job.item.is_probe:
            self._metrics.predicted(
                bundle.class_names[best], float(probability[best]), unsure=unsure
            )
        return result(
            bundle,
            probability,
            unsure,
            request.top_k or self._default_top_k,
            Timing(photo.decode_seconds * 1000, inference_seconds * 1000),
            self._config.response,
        )

    def _encode(self, job: _Job | Problem, item: Item) -> Answer:
        if isinstance(job, Problem):
            return self._problem(job, item)
        request = job.request
        if request.in_envelope:
            job.outcomes = [
                outcome.at(request.place(number)) if isinstance(outcome, Problem) else outcome
                for number, outcome in enumerate(job.outcomes)
            ]
        first = job.outcomes[0]
        all_bad = all(isinstance(outcome, Problem) for outcome in job.outcomes)
        if isinstance(first, Problem) and all_bad and not item.needs_envelope:
            return self._problem(first, item)
        entries = [
            self._refuse(outcome, item) if isinstance(outcome, Problem) else outcome
            for outcome in job.outcomes
        ]
        return Answer(200, self._in_envelope(request, entries))

    def _problem(self, problem: Problem, item: Item) -> Answer:
        body = self._refuse(problem, item)
        if item.needs_envelope:
            nameless = PhotoRequest("kserve-v2", (), id="")
            return Answer(problem.status, self._in_envelope(nameless, [body]))
        return Answer(problem.status, body, is_problem=True)

    def _in_envelope(
        self, request: PhotoRequest, entries: Sequence[dict[str, Any]]
    ) -> dict[str, Any]:
        return envelope(request, entries, self._bundle.name, self._bundle.version)

    def _refuse(self, problem: Problem, item: Item) -> dict[str, Any]:
        self._metrics.refused(problem)
        return problem.to_body(item.request_id)


def _failure(what: str, item: Item) -> InternalError:
    """Log the exception being handled, with its traceback but without the request's content."""
    logger.exception("request %s: %s failed", item.request_id, what)
    return InternalError(_SEE_LOG)
