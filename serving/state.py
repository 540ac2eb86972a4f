"""Where a running server keeps its tokens, and how a client on the same machine finds them.

    $CATBREEDS_STATE, else $XDG_STATE_HOME/catbreeds, else ~/.local/state/catbreeds
        servers/<inference port>/
            server.json          addresses, process, models, canaries; no secret
            key_file.json        TorchServe's three keys (it writes them to its working directory)
            example.png          a photo for a first request
            inference.header     `Authorization: Bearer ...`, for curl's `-H @FILE`: a token given
                                 as an argument shows in the list of processes

The folder is for its owner alone. A gateway that is somebody else, as in another container, gets
a folder of its own (`catbreeds serve --gateway-folder`) with what it needs: the inference token,
what is served, and how the service is; never the token that changes models.
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
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from serving.files import remove_partials, write_durably
from serving.http import is_local
from serving.settings import SettingsError
from serving.status import STATUS_FILE
from serving.traffic import Canary

_RECORD_FILE = "server.json"
HEADER_FILE = "inference.header"
GATEWAY_FILES = (HEADER_FILE, _RECORD_FILE, STATUS_FILE)
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
        gateway_folder: another folder that is to have the record.
    """

    inference: str
    management: str
    metrics: str
    grpc: str
    pid: int
    models: dict[str, list[str]]
    model_store: str
    canaries: dict[str, Canary] = field(default_factory=dict)
    gateway_folder: str | None = None


_RECORD = TypeAdapter(ServerRecord)


class RecordReader:
    """The record of the local server at `url`, which is read again where it has changed.

    May be shared between threads.

    Args:
        folder: where the record lies, if that is not the folder of a local server.
    """

    def __init__(self, url: str, folder: Path | None = None) -> None:
        self._url, self._folder = url, folder
        self._read: tuple[tuple[int, int, int], ServerRecord | None] = (0, 0, 0), None

    def read(self) -> ServerRecord | None:
        """The record as it is now, or None where there is none."""
        try:
            folder = self._folder or folder_of(self._url)
            found = (folder / _RECORD_FILE).stat()
        except (OSError, ValueError):
            return None
        # Looked at before it is read: a file that is replaced in between is read once more.
        seen = found.st_ino, found.st_mtime_ns, found.st_size
        if self._read[0] != seen:
            self._read = seen, _read_record(folder)
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


@contextmanager
def kept_gateway_folder(folder: Path) -> Iterator[None]:
    """A gateway's folder for one server's life: it begins and ends without that server's files.

    The folder itself stays, as others may have it mounted.

    Raises:
        SettingsError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_gateway_files(folder)
        write_for_gateway(folder, HEADER_FILE, "")
    except BlockingIOError:
        raise SettingsError(f"--gateway-folder {folder}: another server keeps it") from None
    except OSError as error:
        raise SettingsError(f"--gateway-folder {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        _remove_gateway_files(folder)
        os.close(lock)


def _remove_gateway_files(folder: Path) -> None:
    for name in GATEWAY_FILES:
        remove_partials(folder, name)
        (folder / name).unlink(missing_ok=True)


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


def write_for_gateway(folder: Path, name: str, content: str) -> None:
    """Replace a file of a gateway's folder in one step; its owner's group may read it."""
    write_durably(folder / name, content, 0o640)
    (folder / name).chmod(0o640)  # whatever the umask takes away


def write_header(folder: Path, gateway_folder: Path | None) -> None:
    """Write the inference token as a header line, for curl and for gateways.

    Raises:
        TokenError: there is none.
    """
    line = f"Authorization: Bearer {read_token(folder, 'inference')}\n"
    write_private(folder / HEADER_FILE, line)
    if gateway_folder is not None:
        write_for_gateway(gateway_folder, HEADER_FILE, line)


def write_record(folder: Path, record: ServerRecord) -> None:
    """Write `server.json`."""
    content = json.dumps(asdict(record), indent=2) + "\n"
    # First: a change that fails here is tried again, as the own record does not have it yet.
    if record.gateway_folder:
        write_for_gateway(Path(record.gateway_folder), _RECORD_FILE, content)
    write_private(folder / _RECORD_FILE, content)


def read_record(url: str) -> ServerRecord | None:
    """The record of the local server at `url`, or None where there is none."""
    try:
        return _read_record(folder_of(url))
    except ValueError:  # not an address
        return None


def _read_record(folder: Path) -> ServerRecord | None:
    try:
        # ValueError: also pydantic's.
        return _RECORD.validate_json((folder / _RECORD_FILE).read_bytes(), strict=True)
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


def token_ends(folder: Path) -> dict[str, float]:
    """When the tokens for "inference" and "management" end, in seconds since 1970.

    Raises:
        TokenError: the file is missing or does not say.
    """
    path = folder / "key_file.json"
    try:
        keys = json.loads(path.read_text())
        return {
            kind: datetime.fromisoformat(keys[kind]["expiration time"]).timestamp()
            for kind in ("inference", "management")
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TokenError(f"{path}: does not say when tokens end") from error


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
