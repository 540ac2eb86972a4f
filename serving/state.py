"""Where a running server keeps its tokens, and how a client on the same machine finds them.

    $CATBREEDS_STATE, else $XDG_STATE_HOME/catbreeds, else ~/.local/state/catbreeds
        servers/<inference port>/
            server.json          addresses, process, models, canaries; no secret
            key_file.json        TorchServe's three keys (it writes them to its working directory)
            example.png          a photo for a first request
            inference.header     `Authorization: Bearer ...`, for curl's `-H @FILE`: a token given
                                 as an argument shows in the list of processes

The folder is for its owner alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from serving.files import write_durably
from serving.http import is_local
from serving.settings import SettingsError
from serving.traffic import Canary

_RECORD_FILE = "server.json"
# TorchServe writes new tokens into its file in place: for a moment it is empty.
_HALF_WRITTEN_S = 0.5
_POLL_S = 0.01


class TokenError(Exception):
    """No token for that server; the message says where one was looked for."""


@dataclass(frozen=True)
class ServerRecord:
    """What `server.json` says. Addresses are URLs, but for gRPC's host:port.

    Attributes:
        pid: that of `catbreeds serve`.
        models: each model's loaded versions, the default first.
        model_store: the folder of its archives, an absolute path.
        canaries: by model; one whose time is over counts as absent.
    """

    inference: str
    management: str
    metrics: str
    grpc: str
    pid: int
    models: dict[str, list[str]]
    model_store: str
    canaries: dict[str, Canary] = field(default_factory=dict)


_RECORD = TypeAdapter(ServerRecord)


class RecordReader:
    """The record of the local server at `url`, which is read again where it has changed.

    May be shared between threads.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._read: tuple[tuple[int, int, int], ServerRecord | None] = (0, 0, 0), None

    def read(self) -> ServerRecord | None:
        """The record as it is now, or None where there is none."""
        try:
            found = (folder_of(self._url) / _RECORD_FILE).stat()
        except (OSError, ValueError):
            return None
        # Looked at before it is read: a file that is replaced in between is read once more.
        seen = found.st_ino, found.st_mtime_ns, found.st_size
        if self._read[0] != seen:
            self._read = seen, read_record(self._url)
        return self._read[1]


def state_folder() -> Path:
    """The folder of all servers of this user."""
    if named := os.environ.get("CATBREEDS_STATE"):
        return Path(named)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "catbreeds"


def server_folder(port: int) -> Path:
    """The folder of the server whose inference API listens on `port`."""
    return state_folder() / "servers" / str(port)


@contextmanager
def claimed_server_folder(port: int) -> Iterator[Path]:
    """The folder for one server's life, readable by its owner alone.

    It begins without tokens of an earlier server and is gone afterwards.

    Raises:
        SettingsError: another `catbreeds serve` has claimed it.
    """
    folder = server_folder(port)
    lock = _lock(folder, port)
    try:
        _clear(folder)
        folder.chmod(0o700)
        yield folder
    finally:
        _clear(folder)
        folder.rmdir()
        os.close(lock)


def _lock(folder: Path, port: int) -> int:
    """A descriptor of the folder that no other process holds; the lock ends with its process."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one who had it may have removed the folder in between.
            if folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise SettingsError(f"port {port} is taken by another `catbreeds serve`") from None
        os.close(descriptor)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_private(path: Path, content: str) -> None:
    """Replace a file in one step; only its owner can read it."""
    write_durably(path, content, 0o600)


def write_record(folder: Path, record: ServerRecord) -> None:
    """Write `server.json`."""
    write_private(folder / _RECORD_FILE, json.dumps(asdict(record), indent=2) + "\n")


def read_record(url: str) -> ServerRecord | None:
    """The record of the local server at `url`, or None where there is none."""
    try:
        # ValueError: also pydantic's, and that of a bad address.
        return _RECORD.validate_json((folder_of(url) / _RECORD_FILE).read_bytes(), strict=True)
    except (OSError, ValueError):
        return None


def read_token(folder: Path, kind: str) -> str:
    """One key of `key_file.json`.

    Args:
        kind: "inference", "management", or "API" (the key that renews the other two).

    Raises:
        TokenError: the file is missing or does not hold that key.
    """
    path = folder / "key_file.json"
    deadline = time.monotonic() + _HALF_WRITTEN_S
    while True:
        try:
            return str(json.loads(path.read_text())[kind]["key"])
        except OSError as error:
            raise TokenError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            if time.monotonic() >= deadline:
                raise TokenError(f"{path}: holds no {kind} key") from error
        time.sleep(_POLL_S)


def find_inference_token(url: str) -> str | None:
    """The token for predictions at `url`: $CATBREEDS_TOKEN, else that of a local server."""
    if given := os.environ.get("CATBREEDS_TOKEN"):
        return given
    try:
        return read_token(folder_of(url), "inference")
    except TokenError:
        return None


def folder_of(url: str) -> Path:
    """The folder of the server at `url`; one that is never there for another machine's.

    Raises:
        ValueError: not an address.
    """
    # A token of this machine must not go to another one that happens to use the same port.
    return server_folder(urlsplit(url).port or 0) if is_local(url) else Path(os.devnull)
