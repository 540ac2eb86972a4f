"""`catbreeds models`: what is deployed, and how it is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

from handlers.archive_format import ArchiveError, read_entry
from serving import deployments, state
from serving.deployments import DeployedModel, Deployments
from serving.management import ModelStatus
from serving.processes import memory_bytes
from serving.rollout.site import Site
from serving.traffic import Canary

State = Literal["default", "canary", "previous", "loaded", "on disk", "being deployed", "leftover"]


@dataclass(frozen=True)
class VersionOverview:
    """One version.

    Attributes:
        state: "leftover" is one that TorchServe has and nobody deployed.
        ready: whether all workers that it should have are READY.
        memory_bytes: of its workers; what they share is counted in equal parts.
        queue: requests that wait for a worker.
        top1: accuracy by its card, or None.
        since: when it was deployed, ISO 8601.
        canary_share: of the clients, or None.
    """

    model: str
    version: str
    state: State
    ready: bool
    workers: int
    workers_wanted: int
    memory_bytes: int
    queue: int
    top1: float | None
    since: str
    sha256: str
    canary_share: float | None


def overview(site: Site) -> list[VersionOverview]:
    """All versions, those of a model together, its default first.

    Raises:
        DeploymentsError: the record is damaged.
        ManagementError: TorchServe does not answer.
    """
    record = deployments.read(site.store)
    server = state.read_record(site.url)
    canaries = server.canaries if server else {}
    rows = []
    pending = {record.pending.model} if record.pending else set()
    served = {each.name for each in site.management.models()}
    for name in sorted({*record.models, *served, *pending}):
        model = record.models.get(name)
        default = site.default_version(name)
        live = {each.version: each for each in site.versions(name)}
        for version in _ordered(model, default, (*live, *_deploying(record, name))):
            canary = canaries.get(name)
            rows.append(_row(site.store, record, name, version, default, live.get(version), canary))
    return rows


def _deploying(record: Deployments, name: str) -> list[str]:
    pending = record.pending
    if pending is None or (pending.action, pending.model) != ("deploy", name):
        return []
    return [pending.version]


def _ordered(model: DeployedModel | None, default: str | None, live: Iterable[str]) -> list[str]:
    ordered = [default] if default else []
    if model is not None:
        ordered += [model.default, *model.previous, *model.versions]
    return list(dict.fromkeys((*ordered, *live)))


def _row(
    store: Path,
    record: Deployments,
    name: str,
    version: str,
    default: str | None,
    live: ModelStatus | None,
    canary: Canary | None,
) -> VersionOverview:
    model = record.models.get(name)
    recorded = model.versions.get(version) if model else None
    share = None
    if canary is not None and canary.version == version and canary.until > time.time():
        share = canary.share
    return VersionOverview(
        model=name,
        version=version,
        state=_state(record, name, version, default, live is not None, share is not None),
        ready=live is not None and live.ready,
        workers=live.ready_workers if live else 0,
        workers_wanted=recorded.workers_wanted if recorded and recorded.loaded else 0,
        memory_bytes=sum(map(memory_bytes, live.worker_pids)) if live else 0,
        queue=live.queue_pending if live else 0,
        top1=_top1(store / recorded.archive) if recorded else None,
        since=recorded.since if recorded else "",
        sha256=recorded.sha256 if recorded else "",
        canary_share=share,
    )


def _state(
    record: Deployments, name: str, version: str, default: str | None, live: bool, canary: bool
) -> State:
    model = record.models.get(name)
    if version == default:
        return "default"
    if canary:
        return "canary"
    if version in _deploying(record, name) and (model is None or version not in model.loaded()):
        return "being deployed"
    if model is None or version not in model.versions:
        return "leftover"
    if not live:
        return "on disk"
    # While a deploy watches its version, the default of before is recorded as the default.
    return "previous" if version in (*model.previous, model.default) else "loaded"


def _top1(archive: Path) -> float | None:
    try:
        top1 = json.loads(read_entry(archive, "model-card.json"))["metrics"]["top1"]
        return float(top1)
    except (ArchiveError, BadZipFile, OSError, ValueError, KeyError, TypeError):
        return None
