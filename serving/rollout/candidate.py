"""The archive that is to be deployed, and all that can be checked before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from handlers.archive_format import ArchiveError, verify_archive
from handlers.checksums import sha256_of
from serving import deployments
from serving.deployments import DeployedModel, DeployedVersion, Deployments, Pending
from serving.model_store import Archive, verified_archive
from serving.rollout import checks
from serving.rollout.checks import Contents
from serving.rollout.report import Report
from serving.rollout.shadow import Thresholds
from serving.rollout.site import RolloutError, Site
from serving.rollout.trial import TrafficLimits
from serving.signatures import check_signature


@dataclass(frozen=True)
class Options:
    """How strict a deploy is.

    Attributes:
        signature_key: a public key file; the archive must be signed by it.
        max_accuracy_drop: of the card's top-1, as a fraction.
        photos: a folder or file for the comparison; None takes the golden sets of both versions.
        canary: share of the clients, 0..1; None goes without.
        keep: previous versions that stay loaded for a rollback.
        workers: None takes the archive's own number.
    """

    allow_class_change: bool = False
    signature_key: Path | None = None
    max_accuracy_drop: float = 0.02
    photos: Path | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    traffic: TrafficLimits = field(default_factory=TrafficLimits)
    canary: float | None = None
    canary_s: float = 60.0
    watch_s: float = 30.0
    keep: int = 1
    workers: int | None = None
    wait_s: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """A verified archive beside what is deployed.

    Attributes:
        server: the inference address of the server that it is for.
        file: where it lies; `archive.path` is its place in the store.
        record: what is deployed now.
        current: the default version's contents; None for the first version of a model.
    """

    server: str
    file: Path
    archive: Archive
    contents: Contents
    sha256: str
    record: Deployments
    current: Contents | None

    @property
    def model(self) -> DeployedModel | None:
        """What is deployed of this model."""
        return self.record.models.get(self.archive.model)

    @property
    def is_default(self) -> bool:
        """Whether there is nothing to do."""
        return self.model is not None and self.model.default == self.archive.version

    @property
    def is_loaded(self) -> bool:
        """Whether the record says that it has workers, as one of the previous versions."""
        return self.model is not None and self.archive.version in self.model.loaded()

    def is_in_store(self) -> bool:
        """Whether the archive in the store has these bytes."""
        return self.archive.path.exists() and sha256_of(self.archive.path) == self.sha256

    def unloaded(self) -> Candidate:
        """The same where what is recorded of its workers is not true (any more)."""
        if self.model is None or not self.is_loaded:
            return self
        model = self.model.unloaded(self.archive.version)
        return replace(self, record=self.record.with_model(self.archive.model, model))

    def pending(self, *, copied: bool) -> Pending:
        """The note that this is being deployed."""
        return Pending(
            action="deploy",
            server=self.server,
            model=self.archive.model,
            version=self.archive.version,
            archive=self.archive.path.name,
            sha256=self.sha256,
            copied=copied,
        )

    def deployed(self, keep: int) -> Deployments:
        """The record with this as the default, and previous versions beyond `keep` without
        workers. It is still pending, until these are unloaded."""
        new = DeployedVersion(
            archive=self.archive.path.name,
            sha256=self.sha256,
            workers=self.archive.workers,
            loaded=True,
            since=deployments.now(),
        )
        version, model = self.archive.version, self.model
        previous: tuple[str, ...] = ()
        versions, used = {version: new}, {version: self.sha256}
        if model is not None:
            previous = (model.default, *(each for each in model.previous if each != version))
            kept = previous[:keep]
            others = {
                name: each.model_copy(update={"loaded": each.loaded and name in kept})
                for name, each in model.versions.items()
            }
            versions, used = others | versions, model.used | used
        after = DeployedModel(default=version, versions=versions, previous=previous, used=used)
        record = self.record.with_model(self.archive.model, after)
        return record.with_pending(self.pending(copied=False))


def examine(site: Site, file: Path, options: Options, report: Report) -> Candidate:
    """Check an archive as far as nothing needs to be loaded for it.

    Raises:
        Exception: of whatever check refuses it; nothing has been changed.
    """
    with report.step("verify") as step:
        for given in (file, options.photos):
            if given is not None and not given.exists():
                raise RolloutError(f"{given}: is not there")
        # Whatever the file is later, only these bytes are deployed: the copy must have them.
        digest = sha256_of(file)
        if (
            options.signature_key is not None
            and check_signature(file, options.signature_key) != digest
        ):
            raise RolloutError(f"{file}: is being changed by somebody")
        archive = verified_archive(file)
        contents = checks.read_contents(file)
        report.about(archive.model, archive.version, digest)
        record = deployments.read(site.store)
        model = record.models.get(archive.model)
        if model is None and site.default_version(archive.model) is not None:
            raise RolloutError(
                f"{archive.model} is served, but {deployments.RECORD_FILE} does not know it; "
                "start `catbreeds serve` anew"
            )
        target = _target(site.store, file, archive, model)
        _check_unchanged(archive.version, digest, target, model)
        _check_not_of_another(target.name, archive, record)
        step.found = f"{archive.model} {archive.version}, SHA-256 {digest[:12]}"
        step.details = {"metrics": dict(contents.card.get("metrics", {}))}
    placed = replace(archive, path=target, workers=options.workers or archive.workers)
    current = None
    with report.step("compare cards") as step:
        if model is None:
            step.found = f"the first version of {archive.model}"
        elif model.default == archive.version:
            step.found = "is the default already"
        else:
            current = _default_contents(site.store, archive.model, model)
            if not options.allow_class_change:
                checks.check_classes(contents, current)
            step.found = checks.check_accuracy(contents, current, options.max_accuracy_drop)
    return Candidate(site.url, file, placed, contents, digest, record, current)


def _target(store: Path, file: Path, archive: Archive, model: DeployedModel | None) -> Path:
    """The archive's place in the store."""
    if file.parent.resolve() == store.resolve():
        return store / file.name
    recorded = model.versions.get(archive.version) if model else None
    return store / (recorded.archive if recorded else f"{archive.model}-{archive.version}.mar")


def _check_unchanged(version: str, digest: str, target: Path, model: DeployedModel | None) -> None:
    """A version's bytes are the same for ever."""
    known = model.used.get(version) if model else None
    # A recorded file that has other bytes has rotted, and is put right.
    if target.exists() and (model is None or version not in model.versions):
        known = known if known not in (None, digest) else sha256_of(target)
    if known not in (None, digest):
        raise RolloutError(
            f"version {version} is there with other content (SHA-256 {known[:12]}, this file has "
            f"{digest[:12]}); a version never changes, choose another number"
        )


def _check_not_of_another(file: str, archive: Archive, record: Deployments) -> None:
    for name, model in record.models.items():
        for version, each in model.versions.items():
            if each.archive == file and (name, version) != (archive.model, archive.version):
                raise RolloutError(f"{file}: is the archive of {name} {version}; rename yours")


def _default_contents(store: Path, name: str, model: DeployedModel) -> Contents:
    archive = store / model.versions[model.default].archive
    try:
        verify_archive(archive)
        return checks.read_contents(archive)
    except (OSError, ArchiveError, checks.CheckFailed) as error:
        raise RolloutError(
            f"{archive}: the default's archive cannot be read ({error}); put it right first: "
            f"catbreeds deploy {name}-{model.default}.mar"
        ) from error
