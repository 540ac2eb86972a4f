"""What `catbreeds serve` last saw of its workers and tokens, for whoever watches the service.

It lies beside `server.json`, and is written anew every few seconds: one that stays old says that
the command hangs or is gone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

STATUS_FILE = "status.json"


@dataclass(frozen=True)
class Workers:
    """The workers of one version.

    Attributes:
        memory_bytes: of all of them; what they share is counted in equal parts (PSS).
        waiting: requests in TorchServe's queue for them.
    """

    wanted: int
    ready: int
    memory_bytes: int
    waiting: int


@dataclass(frozen=True)
class Status:
    """What `status.json` says; times in seconds since 1970.

    Attributes:
        at: when it was looked at.
        token_expires: when each of the tokens ends, by "inference" and "management".
        workers: model -> version -> its workers.
    """

    at: float
    token_expires: dict[str, float]
    workers: dict[str, dict[str, Workers]]


_STATUS = TypeAdapter(Status)


def as_json(status: Status) -> str:
    """What goes into the file."""
    return json.dumps(asdict(status)) + "\n"


def read_status(folder: Path) -> Status | None:
    """What a server's folder says, or None where it says nothing that can be read."""
    try:
        return _STATUS.validate_json((folder / STATUS_FILE).read_bytes(), strict=True)
    except (OSError, ValueError):  # ValueError: also pydantic's
        return None
