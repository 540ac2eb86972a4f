"""What the log and the metrics tell of one request."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from starlette.types import Scope


@dataclass
class Record:
    """What is known of one request; handlers add to it.

    Attributes:
        request_id: TorchServe's where it answered for the request's one photo; in both logs.
        upstream_ids: TorchServe's, one a photo, and one more where a canary was asked in vain.
        versions: those that answered.
        passed_over: "version:problem" of each answer of a canary that was not taken.
        problem: the slug of what went wrong.
        client_gone: the client has left before the answer.
    """

    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    upstream_ids: list[str] = field(default_factory=list)
    photos: int = 0
    model: str | None = None
    versions: set[str] = field(default_factory=set)
    passed_over: list[str] = field(default_factory=list)
    problem: str | None = None
    client_gone: bool = False


def record_of(scope: Scope) -> Record:
    """The record of a request."""
    record: Record = scope["catbreeds.record"]
    return record
