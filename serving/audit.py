"""Who called the management API, and was let in or not: `audit/<inference port>.jsonl` of the
state folder.

TorchServe writes it (`log4j2.xml`): calls that change something and calls that were refused, on
HTTP and gRPC, without query strings and tokens. It outlives the server. When it is full (10 MB) it
is renamed, and the two before it are kept.

One kind of attempt is missing: TorchServe 0.12 says nothing of a gRPC call whose token it refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from serving.json_lines import read_lines
from serving.state import state_folder

# As in log4j2.xml, the oldest first.
_SUFFIXES = (".2", ".1", "")


@dataclass(frozen=True)
class Call:
    """One call of the management API.

    Attributes:
        time: ISO 8601 in UTC, with milliseconds.
        remote: host:port of the caller.
        method: of HTTP, or "gRPC".
        path: as it was sent, still percent-encoded; of gRPC the full name of the method.
        status: of HTTP; of gRPC its code, where 0 is good.
    """

    time: str
    remote: str
    method: str
    path: str
    status: int


_CALL = TypeAdapter(Call)


def audit_file(port: int) -> Path:
    """Where the server whose inference API listens on `port` writes its calls."""
    return state_folder() / "audit" / f"{port}.jsonl"


def prepare_audit_file(port: int) -> Path:
    """The same, there and readable by its owner alone; what it holds is kept.

    Raises:
        OSError: it cannot be made.
    """
    path = audit_file(port)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    path.touch(mode=0o600)
    path.chmod(0o600)
    return path


def read_calls(port: int) -> list[Call]:
    """All calls that are kept, the latest last; none where there was no server.

    A line that is torn, or not a call, is left out.

    Raises:
        OSError: a file cannot be read.
    """
    path = audit_file(port)
    files = [path.with_name(path.name + suffix) for suffix in _SUFFIXES]
    return [call for file in files for call in read_lines(file, _CALL)]
