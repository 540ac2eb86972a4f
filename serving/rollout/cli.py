"""The commands that roll versions out and back. They talk to a `catbreeds serve` of this machine
and this user, whose model store and tokens they use.

Exit codes: 0 done; 1 refused or failed, and the default is what it was; 2 wrong usage;
3 no server answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

if TYPE_CHECKING:
    from serving.rollout.report import Action, Report
    from serving.rollout.show import Answer
    from serving.rollout.site import Site

Url = Annotated[
    str, typer.Option(envvar="CATBREEDS_URL", help="TorchServe's inference API, on this machine.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and say; change nothing.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for another command to finish.")]
Model = Annotated[str | None, typer.Option(help="Name of the model, where several are deployed.")]

_LOCAL = "http://127.0.0.1:8080"


def add_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command(epilog="Example: catbreeds models --json")(models)
    app.command(epilog="Example: catbreeds deploy new/cat-breeds-1.1.mar --canary 10%")(deploy)
    app.command(epilog="Example: catbreeds rollback")(rollback)
    app.command(epilog="Example: catbreeds retire 1.0 --delete")(retire)
    app.command(epilog="Example: catbreeds history --limit 20")(history)
    app.command(epilog="Example: catbreeds keygen release.key")(keygen)
    app.command(epilog="Example: catbreeds sign new/cat-breeds-1.1.mar --key release.key")(sign)


def models(url: Url = _LOCAL, as_json: Json = False) -> None:
    """Show what is deployed: versions, default, workers, memory, queue, accuracy, age."""
    from serving.rollout.overview import overview
    from serving.rollout.show import print_models
    from serving.rollout.site import Site

    with _answered(as_json):
        print_models(as_json, overview(Site.find(url)))


def _share(text: str) -> float:
    """ "10%" as 0.1."""
    match = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)%", text)
    if not match or not 0 < float(match[1]) <= 100:
        raise typer.BadParameter(f"--canary {text!r}: must be a percentage, as 10% or 100%")
    return float(match[1]) / 100


def deploy(
    file: Annotated[Path, typer.Argument(help="A .mar made by `catbreeds archive`.")],
    url: Url = _LOCAL,
    canary: Annotated[
        str | None,
        typer.Option(help="Send this share of the clients to it first, as in 10%."),
    ] = None,
    canary_seconds: Annotated[float, typer.Option(min=1, help="How long.")] = 60.0,
    watch: Annotated[
        float, typer.Option(min=0, help="Seconds to watch it after the switch.")
    ] = 30.0,
    photos: Annotated[
        Path | None,
        typer.Option(help="Photos to compare on; else the golden sets of both versions."),
    ] = None,
    min_agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Photos with the same first class as before.")
    ] = 0.8,
    max_slowdown: Annotated[float, typer.Option(min=1, help="As a multiple.")] = 3.0,
    max_accuracy_drop: Annotated[
        float, typer.Option(min=0, max=1, help="Of the model card's top-1.")
    ] = 0.02,
    allow_class_change: Annotated[
        bool, typer.Option("--allow-class-change", help="Other classes than the default's.")
    ] = False,
    require_signature: Annotated[
        Path | None,
        typer.Option(
            help="Public key that must have signed it.", envvar="CATBREEDS_REQUIRE_SIGNATURE"
        ),
    ] = None,
    keep: Annotated[
        int, typer.Option(min=0, help="Previous versions that stay loaded for a rollback.")
    ] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Else the archive's own number.")
    ] = None,
    wait: Wait = 0.0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Check an archive, load it beside the default, compare, switch and watch.

    Where a step refuses or fails, the default is what it was.
    """
    from serving.rollout.candidate import Options
    from serving.rollout.deploy import deploy as run
    from serving.rollout.deploy import plan
    from serving.rollout.shadow import Thresholds
    from serving.rollout.trial import TrafficLimits

    options = Options(
        allow_class_change=allow_class_change,
        signature_key=require_signature,
        max_accuracy_drop=max_accuracy_drop,
        photos=photos,
        thresholds=Thresholds(min_agreement=min_agreement, max_slowdown=max_slowdown),
        traffic=TrafficLimits(max_slowdown=max_slowdown),
        canary=_share(canary) if canary else None,
        canary_s=canary_seconds,
        watch_s=watch,
        keep=keep,
        workers=workers,
        wait_s=wait,
    )
    with _answered(as_json) as answer:
        with _on_server(answer, url, "deploy", dry_run) as (site, report):
            done = (plan if dry_run else run)(site, file, options, report)
        name = f"{done.model} {done.version}"
        outcome = "deployed"
        line = f"{name} answers now" + (f", not {done.previous}" if done.previous else "")
        if not done.changed:
            outcome, line = "unchanged", f"{name} is the default already"
        elif dry_run:
            outcome, line = "would deploy", f"{name} would be deployed"
        answer.say(outcome, line, **asdict(done))


def rollback(
    version: Annotated[str | None, typer.Argument(help="Else the one before.")] = None,
    model: Model = None,
    url: Url = _LOCAL,
    wait: Wait = 0.0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make an earlier version the default again, at once where it is still loaded."""
    from serving.deployments import read
    from serving.rollout.rollback import plan_rollback
    from serving.rollout.rollback import rollback as run

    with _answered(as_json) as answer:
        with _on_server(answer, url, "rollback", dry_run) as (site, report):
            if dry_run:
                done = plan_rollback(read(site.store), model, version)
            else:
                done = run(site, model, version, report, wait)
        name = f"{done.model} {done.version}"
        outcome, line = "rolled back", f"{name} answers now, not {done.previous}"
        if not done.changed:
            outcome, line = "unchanged", f"{name} is the default already"
        elif dry_run:
            outcome, line = "would roll back", f"{name} would answer, not {done.previous}"
        answer.say(outcome, line, **asdict(done))


def retire(
    version: Annotated[str, typer.Argument(help="One that is not the default.")],
    model: Model = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove its archive from the model store, too.")
    ] = False,
    url: Url = _LOCAL,
    wait: Wait = 0.0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Unload a version for good; its number cannot be used for anything else."""
    from serving.deployments import read
    from serving.rollout.rollback import plan_retirement
    from serving.rollout.rollback import retire as run

    with _answered(as_json) as answer:
        with _on_server(answer, url, "retire", dry_run) as (site, report):
            if dry_run:
                done = plan_retirement(read(site.store), model, version, delete)
            else:
                done = run(site, model, version, delete, report, wait)
        name = f"{done.model} {done.version}"
        file = "deleted" if done.deleted else "left in the model store"
        if dry_run:
            outcome, line = "would retire", f"{name} would be retired, {done.file} {file}"
        else:
            outcome, line = "retired", f"{name} is retired, {done.file} {file}"
        answer.say(outcome, line, **asdict(done))


def history(
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The latest.")] = 50,
    calls: Annotated[
        bool,
        typer.Option("--calls", help="Calls of the management API: changes, and refused ones."),
    ] = False,
    model_store: Annotated[
        Path | None, typer.Option(help="Where no server runs; else the server's own.")
    ] = None,
    url: Url = _LOCAL,
    as_json: Json = False,
) -> None:
    """Show what was done to the deployed versions, and why; the latest last."""
    from serving import history
    from serving.audit import read_calls
    from serving.rollout.show import print_calls, print_history
    from serving.state import read_record

    with _answered(as_json):
        if calls:
            print_calls(as_json, read_calls(urlsplit(url).port or 0)[-limit:])
            return
        record = read_record(url)
        store = model_store or Path(record.model_store if record else "model_store")
        print_history(as_json, history.read(store, model)[-limit:])


def keygen(
    key: Annotated[Path, typer.Argument(help="The private key to write; KEY.pub beside it.")],
) -> None:
    """Make a pair of Ed25519 keys to sign archives with.

    $CATBREEDS_KEY_PASSWORD, where set, encrypts the private one.
    """
    from serving.signatures import generate_key

    with _answered(False) as answer:
        public = generate_key(key)
        answer.say("made", f"{key}: keep it secret; {public}: for `deploy --require-signature`")


def sign(
    file: Annotated[Path, typer.Argument(help="A .mar made by `catbreeds archive`.")],
    key: Annotated[Path, typer.Option(help="The private key of `catbreeds keygen`.")],
    as_json: Json = False,
) -> None:
    """Sign an archive: FILE.sig beside it, which travels with it."""
    from handlers.archive_format import verify_archive
    from serving.signatures import sign as sign_file

    with _answered(as_json) as answer:
        verify_archive(file)
        signature = sign_file(file, key)
        answer.say("signed", f"{signature}", signature=str(signature))


@contextmanager
def _answered(as_json: bool) -> Iterator[Answer]:
    """Turns errors into one line, and their exit code."""
    from serving.command_errors import is_expected
    from serving.rollout.show import Answer
    from serving.rollout.site import NoServerError

    answer = Answer(as_json)
    try:
        yield answer
    except Exception as error:
        if not is_expected(error):
            raise
        answer.refuse(error)
        raise typer.Exit(3 if isinstance(error, NoServerError) else 1) from error


@contextmanager
def _on_server(
    answer: Answer, url: str, action: Action, dry_run: bool
) -> Iterator[tuple[Site, Report]]:
    """The server at `url`, and the steps of what is done there; a dry run leaves no history."""
    from serving.rollout.report import Report
    from serving.rollout.show import Progress
    from serving.rollout.site import Site

    site = Site.find(url)
    with Progress() as progress:
        answer.report = Report(None if dry_run else site.store, action, progress.show)
        yield site, answer.report
