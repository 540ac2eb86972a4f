"""The running server that versions are rolled out on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from serving import state
from serving.deployments import Deployments
from serving.inference import InferenceClient
from serving.management import (
    LoadFailed,
    ManagementClient,
    ManagementError,
    ModelNotFound,
    ModelStatus,
)
from serving.model_store import Archive
from serving.traffic import Canary

_POLL_S = 0.1
_END_S = 30.0
# A worker that has something to do shows it within that.
_QUIET_S = 1.0
# More than the gateway waits for an answer.
_DRAIN_S = 40.0
# Of CPU: workers that wait for work use none.
_IDLE_S = 0.02


class NoServerError(Exception):
    """No `catbreeds serve` of this user answers at that address."""


class RolloutError(Exception):
    """The step cannot be done; the message says why, and what can."""


@dataclass(frozen=True)
class Site:
    """One server of this machine, its model store, and clients that hold its tokens.

    Attributes:
        folder: the server's state folder.
        url: its inference API.
        store: its model store.
    """

    folder: Path
    url: str
    store: Path
    metrics_url: str
    management: ManagementClient
    inference: InferenceClient

    @classmethod
    def of(cls, folder: Path, record: state.ServerRecord) -> Site:
        """The server that a record describes."""
        return cls(
            folder=folder,
            url=record.inference,
            store=Path(record.model_store),
            metrics_url=record.metrics,
            management=ManagementClient(
                record.management, lambda: state.read_token(folder, "management")
            ),
            inference=InferenceClient(
                record.inference, lambda: state.read_token(folder, "inference")
            ),
        )

    @classmethod
    def find(cls, url: str) -> Site:
        """The server whose inference API is at `url`.

        Raises:
            NoServerError: there is none, or it does not answer.
        """
        record = state.read_record(url)
        if record is None:
            raise NoServerError(f"{url}: no server of this user; is `catbreeds serve` up?")
        site = cls.of(state.folder_of(url), record)
        try:
            site.management.models()
        except (ManagementError, state.TokenError) as error:
            raise NoServerError(f"{url}: {error}; is `catbreeds serve` up?") from error
        return site

    def status(self, model: str, version: str) -> ModelStatus | None:
        """What TorchServe says of a version; None where it does not have it.

        Raises:
            ManagementError: no answer.
        """
        # Not asked for by its number: each "not found" is a line in the log of calls.
        versions = self.versions(model)
        return next((each for each in versions if each.version == version), None)

    def versions(self, model: str) -> list[ModelStatus]:
        """All versions that TorchServe has of a model.

        Raises:
            ManagementError: no answer.
        """
        try:
            return self.management.describe_all(model)
        except ModelNotFound:
            return []

    def default_version(self, model: str) -> str | None:
        """The version that answers where a request names none; None without the model."""
        try:
            return self.management.default_version(model)
        except ManagementError as error:
            if error.status == 404:
                return None
            raise

    def load(self, archive: Archive) -> None:
        """Register an archive of the store, and wait for its workers.

        Raises:
            LoadFailed: it does not load.
            ManagementError: no answer. It may be registered all the same.
            RolloutError: its workers are not ready in time.
        """
        # Not synchronously: requests would wait for the workers, too.
        wanted, seconds = archive.workers_wanted, archive.startup_timeout_s
        self.management.register(
            archive.path.name, seconds, wanted, archive.batch_delay_ms, synchronous=False
        )
        try:
            # Where the archive's model-config.yaml has a number, TorchServe has taken that.
            taken = self._loading(archive).min_workers
            self._wait_for_workers(archive, taken)
            if taken != wanted:
                self.management.scale(
                    archive.model, archive.version, wanted, wanted, seconds, synchronous=False
                )
                self._wait_for_workers(archive, wanted)
        except (LoadFailed, RolloutError):
            with suppress(ManagementError):
                self._remove(archive.model, archive.version)
            raise

    def unload(self, model: str, version: str) -> None:
        """Answer what the version has begun, then stop its workers; nothing where it has none.

        Raises:
            ManagementError: TorchServe does not do it.
        """
        if self.status(model, version) is None:
            return
        self._drain(model, version)
        with suppress(ModelNotFound):
            self._remove(model, version)

    def announce(self, deployed: Deployments, canaries: Mapping[str, Canary]) -> None:
        """Tell gateway and clients what is served (`server.json`)."""
        record = state.read_record(self.url)
        if record is not None:
            served = {name: model.loaded() for name, model in deployed.models.items()}
            changed = replace(record, models=served, canaries=dict(canaries))
            if changed != record:
                state.write_record(self.folder, changed)

    def _remove(self, model: str, version: str) -> None:
        # Its workers first: else TorchServe waits for their end on one of the few threads that
        # answer requests, and now and then interrupts itself and keeps the version.
        self.management.scale(model, version, 0, 0, _END_S, synchronous=False)
        self._wait(_END_S, lambda: self._has_no_workers(model, version))
        self.management.unregister(model, version)

    def _loading(self, archive: Archive) -> ModelStatus:
        """What TorchServe says of a version that was registered.

        Raises:
            LoadFailed: it has given it up.
        """
        status = self.status(archive.model, archive.version)
        if status is None:
            raise _not_loaded(archive)
        return status

    def _wait_for_workers(self, archive: Archive, count: int) -> None:
        """Raises:
        LoadFailed: one has ended; TorchServe would start it again until the time is over.
        RolloutError: they are not ready in time.
        """
        pids: dict[str, int] = {}

        def ready() -> bool:
            status = self._loading(archive)
            for worker in status.workers:
                # -1 while it is started, and again where it has ended.
                if pids.setdefault(worker.id, worker.pid) != worker.pid:
                    if pids[worker.id] != -1:
                        raise _not_loaded(archive)
                    pids[worker.id] = worker.pid
            return status.ready_workers >= count

        if not self._wait(archive.startup_timeout_s, ready):
            raise RolloutError(
                f"{archive.model} {archive.version}: its workers are not ready after "
                f"{archive.startup_timeout_s:.0f} s; TorchServe's log says why"
            )

    def _has_no_workers(self, model: str, version: str) -> bool:
        status = self.status(model, version)
        return status is None or not status.workers

    def _drain(self, model: str, version: str) -> None:
        """Wait until nothing is in its queue or its workers; not for ever, since those who name
        the version may go on asking for it."""
        worked, since = -1.0, time.monotonic()
        deadline = since + _DRAIN_S
        while time.monotonic() < deadline:
            status = self.status(model, version)
            if status is None or not status.ready_workers:
                return
            work_s = sum(map(_work_s, status.worker_pids))
            is_idle = math.isfinite(work_s) and work_s - worked <= _IDLE_S
            if not is_idle or status.queue_pending:
                worked, since = work_s if math.isfinite(work_s) else 0.0, time.monotonic()
            elif time.monotonic() - since >= _QUIET_S:
                return
            time.sleep(_POLL_S)

    def _wait(self, seconds: float, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True


def _not_loaded(archive: Archive) -> LoadFailed:
    return LoadFailed(
        f"{archive.path.name}: its workers do not start; TorchServe's log says why", 500
    )


def _work_s(pid: int) -> float:
    """CPU seconds of a worker so far; endless for one that was stopped in the middle of it."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_STOPPED:
            return math.inf
        return sum(process.cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0
