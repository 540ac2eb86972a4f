"""What was done to the deployed versions, and why: `history.jsonl` of the model store.

One JSON object a line; lines are added and never changed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from serving.files import sync_folder
from serving.json_lines import read_lines

HISTORY_FILE = "history.jsonl"

Action = Literal["deploy", "rollback", "retire", "recover"]
Outcome = Literal["begun", "ok", "refused", "failed", "undone"]


@dataclass(frozen=True)
class Event:
    """One step of one command.

    Attributes:
        time: ISO 8601 in UTC, with milliseconds.
        reason: for a person.
        sha256: of the version's archive, in hex.
        details: figures; nothing that JSON does not have.
    """

    time: str
    action: Action
    model: str
    version: str
    step: str
    outcome: Outcome
    reason: str = ""
    sha256: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


_EVENT = TypeAdapter(Event)


def now() -> str:
    """The time as events have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def append(store: Path, event: Event) -> None:
    """Add one event; when this returns, it is on disk. Processes may do so at once.

    Raises:
        OSError: it cannot be written, as where the disk is full.
        TypeError, ValueError: `details` hold what JSON does not have, as NaN.
    """
    # Escaped to ASCII: whatever a file's name holds, the line stays one line.
    line = json.dumps(asdict(event), allow_nan=False).encode() + b"\n"
    descriptor = os.open(store / HISTORY_FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        # A line that another is just writing would look like a torn one.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line  # the last one was torn by a crash
        # In one call: a crash tears this line at most.
        if os.write(descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(store / HISTORY_FILE))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not size:
        sync_folder(store)


def read(store: Path, model: str | None = None) -> list[Event]:
    """All events, the latest last; none where there is no history yet.

    A line that is torn or not an event is left out.

    Args:
        model: only of this one.

    Raises:
        OSError: the file cannot be read.
    """
    events = read_lines(store / HISTORY_FILE, _EVENT)
    return [event for event in events if model in (None, event.model)]
