"""What is deployed, kept in `deployed.json` of the model store: what a restart comes back to.

A command that changes something holds the store's lock. It notes here what it is about (`pending`)
before it begins, and clears that note when it is done. So a note whose lock nobody holds is one of
a command that was killed, and what it had begun is undone: see `serving.rollout.recovery`.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from handlers.cores import default_workers
from serving.files import write_durably

RECORD_FILE = "deployed.json"
_LOCK_FILE = ".deploy.lock"
_POLL_S = 0.2
# `catbreeds serve` holds the lock for a moment when it undoes what a killed command left.
_GRACE_S = 3.0

# A name in the store, never a way out of it.
FileName = Annotated[str, Field(pattern=r"^[^/\x00]+$", min_length=3)]


class DeploymentsError(Exception):
    """The record cannot be used, or another command holds it; the message says which."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DeployedVersion(_Part):
    """One version.

    Attributes:
        archive: the file's name in the model store.
        sha256: of the file, in hex.
        workers: None: as `default_workers` says of the machine's cores.
        loaded: whether it has workers; else it is on disk only.
        since: when it was deployed, ISO 8601.
    """

    archive: FileName
    sha256: str
    workers: Annotated[int, Field(ge=1)] | None = None
    loaded: bool
    since: str

    @property
    def workers_wanted(self) -> int:
        """How many it gets on this machine while it is loaded."""
        return self.workers or default_workers()


class DeployedModel(_Part):
    """One model's versions.

    Attributes:
        previous: what a rollback goes back to, the latest first.
        used: version -> SHA-256 of every version that ever was deployed.
    """

    default: str
    versions: dict[str, DeployedVersion]
    previous: tuple[str, ...] = ()
    used: dict[str, str]

    @model_validator(mode="after")
    def _refer_to_versions(self) -> Self:
        for version in (self.default, *self.previous):
            if version not in self.versions:
                raise ValueError(f"{version} is not among its versions")
        return self

    def unloaded(self, version: str) -> DeployedModel:
        """The same with a version on disk only."""
        without = self.versions[version].model_copy(update={"loaded": False})
        return self.model_copy(update={"versions": self.versions | {version: without}})

    def loaded(self) -> list[str]:
        """Versions with workers, the default first."""
        others = [name for name, each in self.versions.items() if each.loaded]
        return [self.default, *(name for name in others if name != self.default)]


class Pending(_Part):
    """What a command is about to do.

    Attributes:
        server: the inference address of the server that it does it on.
        version: that is to be the default, or to be retired.
        copied: whether it put the archive into the store, and takes it away again.
        delete: whether a retired version's archive is to go as well.
    """

    action: Literal["deploy", "rollback", "retire"]
    server: str
    model: str
    version: str
    archive: FileName
    sha256: str
    copied: bool = False
    delete: bool = False


class Deployments(_Part):
    """The whole record."""

    format: Literal[1] = 1
    models: dict[str, DeployedModel] = {}
    pending: Pending | None = None

    def with_model(self, name: str, model: DeployedModel) -> Deployments:
        """The same with one model replaced or added."""
        return self.model_copy(update={"models": self.models | {name: model}})

    def with_pending(self, pending: Pending | None) -> Deployments:
        """The same with another note of what is being done."""
        return self.model_copy(update={"pending": pending})


def read(store: Path) -> Deployments:
    """The store's record; empty where there is none yet.

    Raises:
        DeploymentsError: the file is damaged.
    """
    path = store / RECORD_FILE
    try:
        return Deployments.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Deployments()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DeploymentsError(f"{path}: {where}: {first['msg']}") from error


def write(store: Path, deployments: Deployments) -> None:
    """Replace the store's record in one step that survives a power cut."""
    # Checked as it will be read: `model_copy` checks nothing.
    checked = Deployments.model_validate(deployments.model_dump())
    write_durably(store / RECORD_FILE, checked.model_dump_json(indent=2) + "\n")


@contextmanager
def locked(store: Path, doing: str, wait_s: float = 0.0) -> Iterator[None]:
    """Be the only one that changes what is deployed. The lock ends with its process.

    Args:
        doing: told to whom it keeps waiting.
        wait_s: how long to wait for another.

    Raises:
        DeploymentsError: another command holds it; says what that does, and since when.
    """
    deadline = time.monotonic() + max(wait_s, _GRACE_S)
    # The file stays: were it removed, two could hold locks on two files of its name.
    descriptor = os.open(store / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise DeploymentsError(f"{_holder(descriptor)}; wait for it, or with --wait")
            time.sleep(_POLL_S)
        _say(descriptor, doing)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_if_free(store: Path) -> Iterator[bool]:
    """Hold the lock where nobody does; gives whether it does."""
    try:
        descriptor = os.open(store / _LOCK_FILE, os.O_RDWR)
    except OSError:  # no command has been here yet, or this is a store for reading only
        yield False
        return
    try:
        held = _try_lock(descriptor)
        if held:
            _say(descriptor, "serve")
        yield held
    finally:
        os.close(descriptor)


def now() -> str:
    """The time as ISO 8601 in UTC."""
    return _iso(datetime.now(UTC))


def modified(path: Path) -> str:
    """When a file was last changed, ISO 8601 in UTC."""
    return _iso(datetime.fromtimestamp(path.stat().st_mtime, UTC))


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _say(descriptor: int, doing: str) -> None:
    """Who holds it, for others to read; a full disk must not keep anybody from rolling back."""
    said = {"doing": doing, "pid": os.getpid(), "since": now()}
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(said).encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        said: Mapping[str, object] = json.loads(os.pread(descriptor, 4096, 0))
        return f"`catbreeds {said['doing']}` is at work since {said['since']} (pid {said['pid']})"
    except (ValueError, KeyError, TypeError):
        return "another command is changing what is deployed"
