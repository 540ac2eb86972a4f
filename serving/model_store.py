"""Which archives of the model store a server is to serve."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from handlers.archive_format import ArchiveError, read_entry, verify_archive
from handlers.checksums import sha256_of
from handlers.cores import default_workers
from serving import deployments
from serving.deployments import DeployedModel, DeployedVersion, DeploymentsError

# TorchServe's default for a model-config.yaml without the key.
_STARTUP_TIMEOUT_S = 120
# As the gateway takes them; a name also becomes part of a file's name.
_MODEL = re.compile(r"(?!\.+$)[A-Za-z0-9._-]{1,100}")
_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(\.(0|[1-9]\d{0,8}))?")


class ServeError(Exception):
    """The server cannot start, or has ended by itself; the message is one clear line."""


@dataclass(frozen=True)
class Archive:
    """A verified .mar of the model store.

    Attributes:
        workers: None: as `default_workers` says of the machine's cores.
        batch_delay_ms: how long requests wait for company; by default a lone one does not.
    """

    path: Path
    model: str
    version: str
    workers: int | None
    startup_timeout_s: float
    batch_delay_ms: int = 0

    @property
    def workers_wanted(self) -> int:
        """How many it gets on this machine."""
        return self.workers or default_workers()


@dataclass(frozen=True)
class Selection:
    """What a server is to load.

    Attributes:
        archives: versions of a model in the order to load them, its default last.
        models: what is deployed, by the record or, for a model without one, by the files.
            What could not be used is marked as not loaded there.
        notes: what was left out, and why.
    """

    archives: tuple[Archive, ...]
    models: dict[str, DeployedModel]
    notes: tuple[str, ...]


def select(model_store: Path) -> Selection:
    """Choose by the record of what is deployed; a model without a record is served with all its
    files, the highest version being the default.

    Raises:
        ServeError: no archive to serve, or a damaged one. Where something is recorded, a file that
            is not, or a version that is not needed, is left out with a note; for a default that
            is damaged the version before it is served.
    """
    try:
        recorded = deployments.read(model_store).models
    except (DeploymentsError, OSError) as error:
        raise ServeError(str(error)) from error
    archives, notes = [], []
    models: dict[str, DeployedModel] = {}
    for name, model in recorded.items():
        chosen, models[name], left_out = _of_model(model_store, name, model)
        archives += chosen
        notes += left_out
    known = {each.archive for model in recorded.values() for each in model.versions.values()}
    found: list[Archive] = []
    for path in sorted(model_store.glob("*.mar")):
        if path.name in known:
            continue
        try:
            archive = verified_archive(path)
        except ServeError as error:
            if not recorded:
                raise
            notes.append(f"left out: {error}")
            continue
        if archive.model in recorded:
            notes.append(f"{path} is not deployed; to do so: catbreeds deploy {path}")
        else:
            found.append(archive)
    found.sort(key=lambda archive: (archive.model, version_key(archive.version)))
    for archive in found:
        models[archive.model] = _with_found(models.get(archive.model), archive)
    if not archives and not found:
        raise ServeError(
            f"{model_store}: holds no .mar; `make serve` makes a demo, `catbreeds archive` your own"
        )
    return Selection((*archives, *found), models, tuple(notes))


def verified_archive(path: Path) -> Archive:
    """Check every byte of a .mar, and that it is one of `catbreeds archive`.

    Raises:
        ServeError: it is not.
    """
    try:
        verify_archive(path)
        model = json.loads(read_entry(path, "MAR-INF/MANIFEST.json"))["model"]
        config: dict[str, Any] = yaml.safe_load(read_entry(path, "model-config.yaml"))
        archive = Archive(
            path,
            model["modelName"],
            model["modelVersion"],
            int(config["minWorkers"]) if "minWorkers" in config else None,
            float(config.get("startupTimeout", _STARTUP_TIMEOUT_S)),
            int(config.get("maxBatchDelay", 0)),
        )
        version_key(archive.version)
        path.name.encode()
        if not _MODEL.fullmatch(archive.model):
            raise ValueError(f"name {archive.model!r}: letters, digits, '.', '_', '-' are allowed")
    except ArchiveError as error:
        raise ServeError(f"broken archive: {error}") from error
    except OSError as error:
        # The check writes a copy to the temp folder, which may be full.
        raise ServeError(f"{path}: cannot be checked: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ServeError(
            f"broken archive: {path}: not one of `catbreeds archive`: {error!r}"
        ) from error
    return archive


def recorded_archive(store: Path, name: str, version: str, model: DeployedModel) -> Archive:
    """A version's archive, if it still is what was deployed.

    Raises:
        ServeError: it is damaged, missing, or another file.
    """
    recorded = model.versions[version]
    path = store / recorded.archive
    archive = verified_archive(path)
    if (archive.model, archive.version) != (name, version) or sha256_of(path) != recorded.sha256:
        raise ServeError(f"{path}: is not the file that was deployed as {name} {version}")
    return replace(archive, workers=recorded.workers or archive.workers)


def version_key(version: str) -> tuple[int, ...]:
    """Order of versions as numbers: 1.10 comes after 1.9.

    Raises:
        ValueError: not MAJOR.MINOR or MAJOR.MINOR.PATCH.
    """
    if not _VERSION.fullmatch(version):
        raise ValueError(f"version {version!r}: must be MAJOR.MINOR or MAJOR.MINOR.PATCH")
    return tuple(int(part) for part in version.split("."))


def _of_model(
    store: Path, name: str, model: DeployedModel
) -> tuple[list[Archive], DeployedModel, list[str]]:
    """The archives of a recorded model, its default last; the model as it can be served; and what
    was left out."""
    archives: dict[str, Archive] = {}
    notes: list[str] = []
    reasons: dict[str, ServeError] = {}
    # Versions that are on disk only are looked at where nothing else is left.
    for version in dict.fromkeys((*model.loaded(), *model.previous, *model.versions)):
        if not model.versions[version].loaded and archives:
            continue
        try:
            archives[version] = recorded_archive(store, name, version, model)
        except ServeError as error:
            reasons[version] = error
            notes.append(f"{name} {version} is left out: {error}")
    if not archives:
        raise reasons[model.default]
    default = next(each for each in (model.default, *model.previous, *archives) if each in archives)
    if default != model.default:
        notes.append(f"{name}: {default} answers in place of {model.default}")
    versions = {
        version: each.model_copy(update={"loaded": version in archives})
        for version, each in model.versions.items()
    }
    previous = tuple(each for each in model.previous if each != default)
    served = model.model_copy(
        update={"default": default, "versions": versions, "previous": previous}
    )
    ordered = [archives[each] for each in archives if each != default]
    return [*reversed(ordered), archives[default]], served, notes


def _with_found(model: DeployedModel | None, archive: Archive) -> DeployedModel:
    """The model with one more, and so far the highest, version."""
    digest = sha256_of(archive.path)
    version = DeployedVersion(
        archive=archive.path.name,
        sha256=digest,
        workers=archive.workers,
        loaded=True,
        since=deployments.modified(archive.path),
    )
    if model is None:
        return DeployedModel(
            default=archive.version,
            versions={archive.version: version},
            used={archive.version: digest},
        )
    return DeployedModel(
        default=archive.version,
        versions=model.versions | {archive.version: version},
        previous=(model.default, *model.previous),
        used=model.used | {archive.version: digest},
    )
