"""Looks at workers and tokens again and again, and writes down what it sees (`status.json`)."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

from serving import state
from serving.management import ManagementClient, ManagementError, ModelStatus
from serving.processes import memory_bytes
from serving.rollout.site import Site
from serving.status import STATUS_FILE, Status, Workers, as_json

log = logging.getLogger(__name__)

_EVERY_S = 5.0
# While workers are missing, as while they load.
_SOON_S = 1.0
# Tokens must be renewed meanwhile, whether or not TorchServe answers.
_PATIENCE_S = 3.0


class Watcher:
    """Writes the status of one server.

    Args:
        gateway_folder: also gets it.
    """

    def __init__(self, site: Site, management_url: str, gateway_folder: Path | None) -> None:
        self._gateway_folder = gateway_folder
        management = ManagementClient(
            management_url, lambda: state.read_token(site.folder, "management"), _PATIENCE_S
        )
        self._site = replace(site, management=management)
        self._looked_at = -_EVERY_S
        self._pause_s = _SOON_S
        self._failed = False

    def look(self) -> None:
        """Look, where the last look is some seconds ago. Where TorchServe does not answer, what was
        written stays, and shows by its time that it is old."""
        if time.monotonic() - self._looked_at < self._pause_s:
            return
        self._looked_at = time.monotonic()
        try:
            status = self._status()
            self._pause_s = _EVERY_S if _is_complete(status) else _SOON_S
            self._write(status)
            self._failed = False
        except (ManagementError, state.TokenError, OSError) as error:
            if not self._failed:
                log.error("the status was not written: %s", error)
            self._failed = True

    def _status(self) -> Status:
        names = sorted({model.name for model in self._site.management.models()})
        workers = {
            name: {each.version: _workers(each) for each in self._site.versions(name)}
            for name in names
        }
        return Status(time.time(), state.token_ends(self._site.folder), workers)

    def _write(self, status: Status) -> None:
        content = as_json(status)
        state.write_private(self._site.folder / STATUS_FILE, content)
        if self._gateway_folder is not None:
            state.write_for_gateway(self._gateway_folder, STATUS_FILE, content)


def _is_complete(status: Status) -> bool:
    versions = [each for model in status.workers.values() for each in model.values()]
    return bool(versions) and all(each.ready >= each.wanted for each in versions)


def _workers(status: ModelStatus) -> Workers:
    memory = sum(map(memory_bytes, status.worker_pids))
    return Workers(status.min_workers, status.ready_workers, memory, status.queue_pending)
