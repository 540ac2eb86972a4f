"""Deploy an archive: check it, load it beside the default, compare, switch, watch; or leave
everything as it was."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serving import deployments, files
from serving.deployments import Deployments
from serving.management import ManagementError
from serving.rollout import checks, recovery, shadow
from serving.rollout.candidate import Candidate, Options, examine
from serving.rollout.report import Report, Step
from serving.rollout.site import RolloutError, Site
from serving.rollout.trial import Trial
from serving.signatures import signature_file
from serving.state import TokenError

# What an archive unpacks to beside its copy, and some room for logs.
_ROOM = 2.2


class DeployError(Exception):
    """Nothing was deployed; the message says which step refused, why, and what answers now."""


@dataclass(frozen=True)
class Deployed:
    """What a deploy came to.

    Attributes:
        previous: the default before; None for the first version of a model.
        changed: false where the version was the default already.
    """

    model: str
    version: str
    previous: str | None
    changed: bool


def deploy(site: Site, file: Path, options: Options, report: Report) -> Deployed:
    """Make an archive the default of its model.

    Raises:
        DeployError: a step refused or failed; the default is what it was.
        DeploymentsError: another command is at work, or the record is damaged.
        ManagementError: what a killed command left cannot be undone.
    """
    with deployments.locked(site.store, f"deploy {file.name}", options.wait_s):
        recovery.recover(site)
        candidate = _examined(site, file, options, report)
        if candidate.is_default:
            _put_right(candidate, report)
            report.note("done", "ok", "is the default already")
        else:
            _Deploy(site, candidate, options, report).run()
        return _result(candidate)


def plan(site: Site, file: Path, options: Options, report: Report) -> Deployed:
    """Only the checks that change nothing.

    Raises:
        DeployError: one refuses.
    """
    return _result(_examined(site, file, options, report))


def _examined(site: Site, file: Path, options: Options, report: Report) -> Candidate:
    try:
        return examine(site, file, options, report)
    except Exception as error:
        report.note("done", "refused", str(error))
        raise DeployError(f"{file.name} is not deployed: {error}") from error


def _put_right(candidate: Candidate, report: Report) -> None:
    """The default's archive in the store, where it is not what was deployed any more."""
    if not candidate.is_in_store():
        with report.step("copy") as step:
            files.copy_durably(candidate.file, candidate.archive.path)
            step.found = "the archive in the store was damaged"


def _result(candidate: Candidate) -> Deployed:
    previous = candidate.model.default if candidate.model else None
    name, version = candidate.archive.model, candidate.archive.version
    return Deployed(name, version, previous, not candidate.is_default)


class _Deploy:
    """The steps that change something, and the way back."""

    def __init__(self, site: Site, candidate: Candidate, options: Options, report: Report) -> None:
        self._site, self._candidate = site, candidate
        self._options, self._report = options, report
        self._copied = False
        self._model, self._version = candidate.archive.model, candidate.archive.version

    def run(self) -> None:
        try:
            after = self._load_and_switch()
        except BaseException as error:
            after = deployments.read(self._site.store)
            if after.pending is None or not recovery.is_done(after, after.pending):
                raise self._undone(error) from error
        recovery.tidy(self._site, after, self._report)
        self._report.note("done", "ok", f"is the default of {self._model}")

    def _load_and_switch(self) -> Deployments:
        report, site, new = self._report, self._site, self._candidate
        self._note()
        with report.step("copy") as step:
            step.found = self._copy()
        with report.step("register") as step:
            step.found = self._load()
        with report.step("self-test") as step:
            if not new.is_in_store():
                raise RolloutError(f"{new.archive.path} was changed while it was loaded")
            difference = checks.self_test(site.inference, new.contents)
            step.found = f"golden set: probabilities within {difference:.4f}"
            step.details = {"difference": difference}
        current = new.current.version if new.current else None
        trial = Trial(site, self._model, self._version, current, self._options.traffic)
        if current is not None:
            with report.step("shadow") as step:
                self._compare(current, step)
            if self._options.canary is not None:
                with report.step("canary") as step:
                    share, seconds = self._options.canary, self._options.canary_s
                    tick = partial(report.tick, step)
                    step.details = dict(
                        trial.canary(new.record, share, new.contents.golden, seconds, tick)
                    )
                    step.found = f"{trial.asked} requests"
        after = self._candidate.deployed(self._options.keep)
        with report.step("switch") as step:
            site.management.set_default(self._model, self._version)
            site.announce(after, {})
            step.found = f"{self._version} answers"
        with report.step("watch") as step:
            tick = partial(report.tick, step)
            seconds = self._options.watch_s
            step.details = dict(trial.watch(new.contents.golden, seconds, tick))
            step.found = f"{trial.asked} requests"
        with report.step("record"):
            deployments.write(site.store, after)
        return after

    def _copy(self) -> str:
        file, target = self._candidate.file, self._candidate.archive.path
        if self._candidate.is_in_store():
            return "is in the store already"
        size = file.stat().st_size
        free = shutil.disk_usage(self._site.store).free
        if free < size * _ROOM:
            raise RolloutError(
                f"{self._site.store}: {free / 1e6:.0f} MB are free, {size * _ROOM / 1e6:.0f} MB "
                "are needed; `catbreeds retire VERSION --delete` makes room"
            )
        # One that was there and has rotted is put right, and stays whatever comes of this.
        self._candidate = self._candidate.unloaded()
        self._copied = not target.exists()
        self._note()
        files.copy_durably(file, target)
        if signature_file(file).exists():
            files.copy_durably(signature_file(file), signature_file(target))
        if not self._candidate.is_in_store():
            raise RolloutError(f"{file} changed while it was copied")
        return f"{size / 1e6:.1f} MB"

    def _load(self) -> str:
        live = self._site.status(self._model, self._version)
        if self._candidate.is_loaded and live is not None and live.ready:
            return "is loaded already"
        self._candidate = self._candidate.unloaded()
        self._note()
        self._site.unload(self._model, self._version)  # registered by hand, perhaps
        self._site.load(self._candidate.archive)
        return f"{self._candidate.archive.workers_wanted} worker(s) ready"

    def _compare(self, current: str, step: Step) -> None:
        if self._options.photos is not None:
            photos = shadow.load_photos(self._options.photos)
        else:
            before = self._candidate.current
            both = (*self._candidate.contents.golden, *(before.golden if before else ()))
            photos = [(f"golden {i}", photo) for i, photo in enumerate(dict.fromkeys(both))]
        compared = shadow.compare(
            self._site.inference,
            self._model,
            current,
            self._version,
            photos,
            lambda done, total: self._report.tick(step, f"{done} of {total} photos"),
        )
        step.found, step.details = compared.describe(), compared.figures()
        shadow.check(compared, self._options.thresholds)

    def _note(self) -> None:
        pending = self._candidate.pending(copied=self._copied)
        deployments.write(self._site.store, self._candidate.record.with_pending(pending))

    def _undone(self, error: BaseException) -> DeployError:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        said = f"{self._model} {self._version} is not deployed: "
        if self._report.steps:
            said += f"{self._report.steps[-1].name}: {reason}"
        self._report.note("done", "refused", reason)
        try:
            recovery.restore(self._site, deployments.read(self._site.store), reason)
            now = self._site.default_version(self._model)
        except (ManagementError, OSError, TokenError) as left:
            return DeployError(
                f"{said}; what it had begun is not undone yet ({left}): `catbreeds serve` or the "
                "next command does it"
            )
        return DeployError(f"{said}; {f'{now} answers as before' if now else 'nothing changed'}")
