"""Back to an earlier version, and away with one that nobody needs any more."""

from __future__ import annotations

from dataclasses import dataclass, replace

from serving import deployments
from serving.deployments import DeployedModel, Deployments, Pending
from serving.management import ManagementError
from serving.model_store import ServeError, recorded_archive
from serving.rollout import checks, recovery
from serving.rollout.report import Report
from serving.rollout.site import RolloutError, Site


@dataclass(frozen=True)
class RolledBack:
    """What a rollback came to: the default before, and now."""

    model: str
    previous: str
    version: str
    changed: bool


@dataclass(frozen=True)
class Retired:
    """A version that is no longer deployed. `file` is its archive's name, `deleted` or left."""

    model: str
    version: str
    file: str
    deleted: bool


def rollback(
    site: Site, model: str | None, version: str | None, report: Report, wait_s: float = 0.0
) -> RolledBack:
    """Make an earlier version the default again, and unload the one that was.

    Args:
        model: where several are deployed.
        version: the one before, where None.

    Raises:
        RolloutError: there is no such version, or it does not work; the default is what it was.
        DeploymentsError: another command is at work, or the record is damaged.
        ManagementError: TorchServe does not do it.
    """
    doing = deployments.read(site.store).pending
    with deployments.locked(site.store, "rollback", wait_s):
        record = recovery.recover(site)
        planned = plan_rollback(record, model, version)
        if version is None and _was_not_deployed(record, doing, planned.model):
            # What was to be rolled back has gone by itself while this waited.
            planned = replace(planned, version=planned.previous, changed=False)
        if not planned.changed:
            return planned
        name, target = planned.model, planned.version
        now = record.models[name]
        report.about(name, target, now.versions[target].sha256)
        after = _rolled_back(record, name, target)
        # Not by the record alone: a file that was damaged when TorchServe started is not loaded.
        live = site.status(name, target)
        if live is None or not live.ready:
            _load(site, record, name, target, report)
        with report.step("switch") as step:
            _switch(site, record, after, name, target)
            step.found = f"{target} answers"
        recovery.tidy(site, _note(site, after, name, target), report)
        report.note("done", "ok", f"instead of {planned.previous}")
    return planned


def plan_rollback(record: Deployments, model: str | None, version: str | None) -> RolledBack:
    """Which version a rollback goes to.

    Raises:
        RolloutError: there is none such.
    """
    name = chosen_model(record, model)
    deployed = record.models[name]
    target = version or next(iter(deployed.previous), None)
    if target is None:
        others = [each for each in deployed.versions if each != deployed.default]
        hint = f"; `catbreeds rollback VERSION` takes {', '.join(others)}" if others else ""
        raise RolloutError(f"{name}: no version was deployed before {deployed.default}{hint}")
    if target not in deployed.versions:
        raise RolloutError(f"{name} {target}: is not among {', '.join(deployed.versions)}")
    return RolledBack(name, deployed.default, target, target != deployed.default)


def retire(
    site: Site, model: str | None, version: str, delete: bool, report: Report, wait_s: float = 0.0
) -> Retired:
    """Unload a version and take it off the record; its number stays used.

    Args:
        delete: remove its archive from the store, too.

    Raises:
        RolloutError: it is the default, or not deployed.
        DeploymentsError: another command is at work, or the record is damaged.
        ManagementError: TorchServe does not do it.
    """
    with deployments.locked(site.store, f"retire {version}", wait_s):
        record = recovery.recover(site)
        planned = plan_retirement(record, model, version, delete)
        now = record.models[planned.model]
        digest = now.versions[version].sha256
        report.about(planned.model, version, digest)
        after = now.model_copy(
            update={
                "versions": {key: each for key, each in now.versions.items() if key != version},
                "previous": tuple(each for each in now.previous if each != version),
            }
        )
        pending = Pending(
            action="retire",
            server=site.url,
            model=planned.model,
            version=version,
            archive=planned.file,
            sha256=digest,
            delete=delete,
        )
        changed = record.with_model(planned.model, after).with_pending(pending)
        with report.step("unload") as step:
            deployments.write(site.store, changed)
            recovery.settle(site, changed)
            step.found = f"{planned.file} {'deleted' if delete else 'left'}"
        report.note("done", "ok")
    return planned


def plan_retirement(record: Deployments, model: str | None, version: str, delete: bool) -> Retired:
    """What retiring a version would do.

    Raises:
        RolloutError: it is the default, or not deployed.
    """
    name = chosen_model(record, model)
    deployed = record.models[name]
    if version not in deployed.versions:
        raise RolloutError(f"{name} {version}: is not among {', '.join(deployed.versions)}")
    if version == deployed.default:
        raise RolloutError(f"{name} {version}: is the default; roll back or deploy another first")
    return Retired(name, version, deployed.versions[version].archive, delete)


def chosen_model(record: Deployments, model: str | None) -> str:
    """The model that a command means.

    Raises:
        RolloutError: it is not deployed, or several are and none was named.
    """
    if model is None and len(record.models) == 1:
        return next(iter(record.models))
    names = ", ".join(record.models) or "none"
    if model is None:
        raise RolloutError(f"--model: say which; {names} are deployed")
    if model not in record.models:
        raise RolloutError(f"--model {model}: is not deployed; {names} are")
    return model


def _rolled_back(record: Deployments, name: str, target: str) -> Deployments:
    now = record.models[name]
    if target in now.previous:
        previous = now.previous[now.previous.index(target) + 1 :]
    else:
        previous = (now.default, *now.previous)
    loaded = {target, *previous[:1]}
    versions = {
        version: each.model_copy(
            update={"loaded": version == target or (each.loaded and version in loaded)}
        )
        for version, each in now.versions.items()
    }
    after = DeployedModel(default=target, versions=versions, previous=previous, used=now.used)
    return record.with_model(name, after)


def _load(site: Site, record: Deployments, name: str, target: str, report: Report) -> None:
    """Give an unloaded version its workers again; it stays unloaded where it fails."""
    model = record.models[name]
    noted = _note(site, record.with_model(name, model.unloaded(target)), name, target)
    deployments.write(site.store, noted)
    try:
        with report.step("register") as step:
            archive = recorded_archive(site.store, name, target, model)
            site.unload(name, target)
            site.load(archive)
            step.found = f"{archive.workers_wanted} worker(s) ready"
        with report.step("self-test"):
            checks.self_test(site.inference, checks.read_contents(archive.path))
    except BaseException as error:
        report.note("done", "failed", str(error) or "interrupted")
        recovery.restore(site, noted, str(error) or "interrupted")
        if isinstance(error, ServeError | checks.CheckFailed):
            said = f"{name} {target}: {error}; {model.default} answers as before"
            raise RolloutError(said) from error
        raise


def _was_not_deployed(record: Deployments, doing: Pending | None, model: str) -> bool:
    return (
        doing is not None
        and (doing.action, doing.model) == ("deploy", model)
        and not recovery.is_done(record, doing)
    )


def _note(site: Site, record: Deployments, name: str, target: str) -> Deployments:
    """The record with the note that a rollback to `target` is being done."""
    version = record.models[name].versions[target]
    pending = Pending(
        action="rollback",
        server=site.url,
        model=name,
        version=target,
        archive=version.archive,
        sha256=version.sha256,
    )
    return record.with_pending(pending)


def _switch(site: Site, before: Deployments, after: Deployments, name: str, target: str) -> None:
    """The record first: where this is killed in between, `recovery` goes on to it."""
    unrecorded: OSError | None = None
    try:
        deployments.write(site.store, _note(site, after, name, target))
    except OSError as error:
        unrecorded = error
    try:
        site.management.set_default(name, target)
    except ManagementError as error:
        if error.status is not None and unrecorded is None:
            deployments.write(site.store, before)
        raise
    if unrecorded is not None:
        raise RolloutError(
            f"{target} answers, but that is not recorded ({unrecorded}), and the next start brings "
            f"back what was: make room, and repeat it"
        )
    site.announce(after, {})
