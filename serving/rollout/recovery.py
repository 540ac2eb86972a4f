"""Back to what is recorded: after a failed step, and after a command that was killed."""

from __future__ import annotations

import logging
from pathlib import Path

from serving import deployments, history
from serving.deployments import Deployments, DeploymentsError, Pending
from serving.files import remove_partials
from serving.management import ManagementError
from serving.rollout.site import Site
from serving.signatures import signature_file
from serving.state import TokenError

log = logging.getLogger(__name__)

KILLED = "its command was killed"
SAID = "a killed command was undone; `catbreeds history` says which"


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
    record = record.with_pending(None)
    deployments.write(site.store, record)
    return record


def recover(site: Site) -> Deployments:
    """What is recorded, after undoing what a killed command had begun. The lock must be held.

    Raises:
        DeploymentsError: the record is damaged.
        ManagementError, OSError: as `restore`.
    """
    return restore(site, deployments.read(site.store), KILLED)


def remove_archive(path: Path) -> None:
    """An archive of the store, and its signature.

    Raises:
        OSError: it cannot be removed.
    """
    for file in (path, signature_file(path)):
        file.unlink(missing_ok=True)


def recover_killed(site: Site) -> None:
    """Recover if there is a note whose lock nobody holds. Where that does not work the log says
    why, and the next call tries again."""
    try:
        if deployments.read(site.store).pending is None:
            return
        with deployments.locked_if_free(site.store) as held:
            if held:
                recover(site)
                log.warning(SAID)
    except (DeploymentsError, ManagementError, TokenError, OSError) as error:
        log.error("a killed command was not undone: %s", error)


def forget_killed(store: Path) -> bool:
    """The same where no TorchServe runs yet; returns whether there was something.

    Raises:
        DeploymentsError: the record is damaged.
        OSError: the store cannot be changed.
    """
    with deployments.locked_if_free(store) as held:
        record = deployments.read(store)
        if not held or record.pending is None:
            return False
        forget(store, record, KILLED)
        return True


def _agree(site: Site, record: Deployments, pending: Pending) -> None:
    site.announce(record, {})
    model = record.models.get(pending.model)
    live = site.default_version(pending.model)
    if model is not None and live not in (None, model.default):
        site.management.set_default(pending.model, model.default)
    known = {pending.version, *(model.versions if model else ())}
    for version in sorted(known - set(model.loaded() if model else ())):
        site.unload(pending.model, version)


def forget(store: Path, record: Deployments, reason: str) -> Deployments:
    """Take away the file that a command put into the store, and its note: all there is to undo
    where no TorchServe runs. The lock must be held.

    Raises:
        OSError: the store cannot be changed.
    """
    pending = record.pending
    if pending is None:
        return record
    remove_partials(store, pending.archive)
    if pending.copied:
        remove_archive(store / pending.archive)
    event = history.Event(
        time=history.now(),
        action="recover",
        model=pending.model,
        version=pending.version,
        step=pending.action,
        outcome="undone" if pending.action == "deploy" else "ok",
        reason=reason,
        sha256=pending.sha256,
    )
    history.append(store, event)
    record = record.with_pending(None)
    deployments.write(store, record)
    return record
