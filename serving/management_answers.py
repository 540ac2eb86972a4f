"""What TorchServe's management API says of models.

Source of the fields: https://pytorch.org/serve/management_api.html and a running TorchServe 0.12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from serving.management_errors import UnexpectedAnswer

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class RegisteredModel:
    """One model, by the archive of its default version."""

    name: str
    archive: str


@dataclass(frozen=True)
class Worker:
    """One process of a version.

    Attributes:
        pid: -1 while it starts.
        status: "READY", or "UNLOADING" for any other state.
        memory_bytes: resident; 0 where TorchServe does not measure (disable_system_metrics=true).
    """

    id: str
    pid: int
    status: str
    memory_bytes: int
    started: datetime


@dataclass(frozen=True)
class ModelStatus:
    """One version of a model as TorchServe describes it.

    Attributes:
        archive: its file's name in the model store.
        queue_pending: requests that wait for a worker.
        queue_remaining: how many more may.
        loaded_at_startup: whether TorchServe's own settings name it; what is registered is not.
    """

    name: str
    version: str
    archive: str
    min_workers: int
    max_workers: int
    batch_size: int
    max_batch_delay_ms: int
    response_timeout_s: int
    workers: tuple[Worker, ...]
    queue_pending: int
    queue_remaining: int
    loaded_at_startup: bool

    @property
    def ready_workers(self) -> int:
        """How many workers answer."""
        return len(self.worker_pids)

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that answer."""
        return tuple(worker.pid for worker in self.workers if worker.status == "READY")

    @property
    def ready(self) -> bool:
        """Whether all wanted workers are there."""
        return self.min_workers > 0 and self.ready_workers >= self.min_workers


def parsed(answer: Any, parse: Callable[[Any], Parsed]) -> Parsed:  # noqa: ANN401 - JSON
    """What `parse` makes of an answer.

    Raises:
        UnexpectedAnswer: it is not of the shape that `parse` takes apart.
    """
    try:
        return parse(answer)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnexpectedAnswer(f"not an answer of TorchServe: {error!r}", 200) from error


def said(answer: Any) -> str:  # noqa: ANN401 - JSON
    """What TorchServe says of a change that it made."""
    return str(answer["status"])


def statuses(answer: Any) -> list[ModelStatus]:  # noqa: ANN401 - JSON
    """The versions of a description: none of a model whose last one is just being removed."""
    if not isinstance(answer, list):
        raise TypeError("not a list of versions")
    return [_status(each) for each in answer]


def only_status(answer: Any) -> ModelStatus:  # noqa: ANN401 - JSON
    """The version of a description of one."""
    (status,) = statuses(answer)
    return status


def card(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """What the handler of the only version says of itself."""
    (described,) = answer
    return dict(described["customizedMetadata"])


def registered_models(answer: Any) -> list[RegisteredModel]:  # noqa: ANN401 - JSON
    """One page of a list."""
    return [
        RegisteredModel(str(each["modelName"]), str(each["modelUrl"])) for each in answer["models"]
    ]


def _status(answer: Mapping[str, Any]) -> ModelStatus:
    queue = answer["jobQueueStatus"]
    return ModelStatus(
        name=str(answer["modelName"]),
        version=str(answer["modelVersion"]),
        archive=str(answer["modelUrl"]),
        min_workers=int(answer["minWorkers"]),
        max_workers=int(answer["maxWorkers"]),
        batch_size=int(answer["batchSize"]),
        max_batch_delay_ms=int(answer["maxBatchDelay"]),
        response_timeout_s=int(answer["responseTimeout"]),
        workers=tuple(map(_worker, answer["workers"])),
        queue_pending=int(queue["pendingRequests"]),
        queue_remaining=int(queue["remainingCapacity"]),
        loaded_at_startup=bool(answer["loadedAtStartup"]),
    )


def _worker(answer: Mapping[str, Any]) -> Worker:
    return Worker(
        id=str(answer["id"]),
        pid=int(answer["pid"]),
        status=str(answer["status"]),
        memory_bytes=int(answer["memoryUsage"]),
        started=datetime.fromisoformat(answer["startTime"]),
    )
