"""Back to what is recorded: after a failed step, and after a command that was killed."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

from serving import deployments, history, state
from serving.deployments import Deployments, DeploymentsError, Pending
from serving.files import remove_partials
from serving.management import ManagementError
from serving.model_store import ServeError, recorded_archive
from serving.rollout.report import Report
from serving.rollout.site import RolloutError, Site
from serving.signatures import signature_file

log = logging.getLogger(__name__)

KILLED = "its command was killed"
SAID = "a killed command was undone; `catbreeds history` says which"
# TorchServe knows of a version only when it has unpacked it, which may be after the undoing.
_LATE_S = 180.0


def restore(site: Site, record: Deployments, reason: str) -> Deployments:
    """Make TorchServe, the clients and the store agree with the record, and forget what was
    pending. May itself be killed at any point, and repeated. The lock must be held.

    Raises:
        ManagementError: TorchServe does not do it; the note of what is pending stays.
        OSError: the store cannot be changed.
    """
    pending = record.pending
    if pending is None:
        return record
    _agree(site, record, pending)
    return forget(site.store, record, reason)


def settle(site: Site, record: Deployments) -> Deployments:
    """The end of a command that did what it was to do: unload what is recorded as not loaded.

    Raises:
        As `restore`.
    """
    if record.pending is not None:
        _agree(site, record, record.pending)
        _remove_files(site.store, record.pending)
    record = record.with_pending(None)
    deployments.write(site.store, record)
    return record


def tidy(site: Site, record: Deployments, report: Report) -> None:
    """`settle` as the last step of a command: what does not work of it now is done later."""
    with suppress(ManagementError, OSError, state.TokenError), report.step("tidy"):
        settle(site, record)


def recover(site: Site) -> Deployments:
    """What is recorded, after undoing what a killed command had begun. The lock must be held.

    Raises:
        RolloutError: it was one on another server, which undoes it.
        DeploymentsError: the record is damaged.
        ManagementError, OSError: as `restore`.
    """
    record = deployments.read(site.store)
    if record.pending is not None and _is_of_another(record.pending, site.url):
        raise RolloutError(f"{record.pending.server}: has to undo a killed command first; repeat")
    return restore(site, record, KILLED)


def forget(store: Path, record: Deployments, reason: str) -> Deployments:
    """Take away the file that a command put into the store, and its note: all there is to undo
    where no TorchServe runs. The lock must be held.

    Raises:
        OSError: the store cannot be changed.
    """
    pending = record.pending
    if pending is None:
        return record
    _remove_files(store, pending)
    record = record.with_pending(None)
    deployments.write(store, record)
    event = history.Event(
        time=history.now(),
        action="recover",
        model=pending.model,
        version=pending.version,
        step=pending.action,
        outcome="ok" if is_done(record, pending) else "undone",
        reason=reason,
        sha256=pending.sha256,
    )
    try:
        history.append(store, event)
    except OSError as error:
        log.error("the history was not written: %s", error)
    return record


def is_done(record: Deployments, pending: Pending) -> bool:
    """Whether the record has what the command was about."""
    model = record.models.get(pending.model)
    if pending.action == "retire":
        return model is None or pending.version not in model.versions
    return model is not None and model.default == pending.version


def forget_killed(store: Path, server: str) -> bool:
    """The same as `recover` where no TorchServe runs yet; returns whether there was something.

    Raises:
        DeploymentsError: the record is damaged.
        OSError: the store cannot be changed.
    """
    with deployments.locked_if_free(store) as held:
        record = deployments.read(store)
        if not held or record.pending is None or _is_of_another(record.pending, server):
            return False
        if _is_alive(record.pending.server):
            return False  # somebody has our address; the start ends there
        forget(store, record, KILLED)
        return True


class KilledCommands:
    """What `catbreeds serve` does about commands that were killed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        # Deployed lately, perhaps not to the end -> until when it may still turn up.
        self._late: dict[tuple[str, str], float] = {}
        self._said = ""

    def look(self) -> None:
        """Undo one, if its note is there and nobody holds the lock. To be called again and again;
        where something does not work the log says so once, and the next call tries it again."""
        try:
            pending = deployments.read(self._site.store).pending
            if pending is not None and pending.server == self._site.url:
                self._late[pending.model, pending.version] = time.monotonic() + _LATE_S
                with deployments.locked_if_free(self._site.store) as held:
                    if held and recover(self._site).pending is None:
                        log.warning(SAID)
            elif pending is None:
                self._unload_late()
            self._said = ""
        except (
            DeploymentsError,
            ManagementError,
            RolloutError,
            state.TokenError,
            OSError,
        ) as error:
            if str(error) != self._said:
                log.error("a killed command was not undone: %s", error)
            self._said = str(error)

    def _unload_late(self) -> None:
        """Versions that TorchServe was still unpacking when their deploy was undone."""
        for (name, version), until in list(self._late.items()):
            if time.monotonic() > until or self._is_loaded(name, version):
                del self._late[name, version]
            elif self._site.status(name, version) is not None:
                with deployments.locked_if_free(self._site.store) as held:
                    if held and not self._is_loaded(name, version):
                        self._site.unload(name, version)
                        log.warning("%s %s was loaded after its deploy was undone", name, version)

    def _is_loaded(self, name: str, version: str) -> bool:
        model = deployments.read(self._site.store).models.get(name)
        return model is not None and version in model.loaded()


def _agree(site: Site, record: Deployments, pending: Pending) -> None:
    site.announce(record, {})
    name, model = pending.model, record.models.get(pending.model)
    wanted = {pending.version} if model is None else {pending.version, *model.versions}
    kept = set() if model is None else set(model.loaded())
    if model is not None and site.default_version(name) not in (None, model.default):
        try:
            if site.status(name, model.default) is None:
                site.load(recorded_archive(site.store, name, model.default, model))
            site.management.set_default(name, model.default)
        except (ServeError, RolloutError, ManagementError) as error:
            if isinstance(error, ManagementError) and error.status is None:
                raise
            # Better another version than none.
            live = site.default_version(name)
            log.error("%s %s cannot be loaded (%s); %s answers", name, model.default, error, live)
            kept |= {live} if live else set()
    for version in sorted(wanted - kept):
        site.unload(name, version)


def _remove_files(store: Path, pending: Pending) -> None:
    archive = store / pending.archive
    for name in (archive.name, signature_file(archive).name, deployments.RECORD_FILE):
        remove_partials(store, name)
    if pending.copied or pending.delete:
        for file in (archive, signature_file(archive)):
            file.unlink(missing_ok=True)


def _is_of_another(pending: Pending, server: str) -> bool:
    """Whether another server, which is up, is to undo it."""
    return pending.server != server and _is_alive(pending.server)


def _is_alive(server: str) -> bool:
    record = state.read_record(server)
    if record is None or record.pid == os.getpid():
        # In a container the one before this has had the same number.
        return False
    return psutil.pid_exists(record.pid)
