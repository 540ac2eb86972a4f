"""`catbreeds load`. It imports `benchmarks` when it runs, and only then."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_LEAST_S, _MOST_S = 1, 86400
_MOST_PHOTOS = 1_000_000
_LOOK_S = 10
_RATE_NOTE = (
    "429: a gateway takes so many photos a minute of one client (CATBREEDS_WEB_RATE, by default "
    "600/minute),\nand so many at once (CATBREEDS_WEB_CLIENT_PHOTOS_AT_ONCE, 40). Take a lower "
    "--rate, or set them there."
)


def add_commands(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        epilog="Example: catbreeds load\n\n"
        "While a version is deployed: catbreeds load --rate 8 --duration 2m https://cats.example"
    )(load)


def load(
    url: Annotated[str, typer.Argument(help="Address of a gateway.")] = "http://127.0.0.1:8000",
    rate: Annotated[
        float,
        typer.Option(min=0.1, max=1000, help="Photos a second on average, at random times."),
    ] = 5.0,
    duration: Annotated[str, typer.Option(help="As 30, 30s, 2m or 1h.")] = "30s",
    photo: Annotated[
        list[Path] | None,
        typer.Option(help="A photo to send; may be given again. Else drawn cats."),
    ] = None,
    allow_errors: Annotated[
        str, typer.Option(help="Share of the photos that may fail, as 0.01 or 1%.")
    ] = "0",
    ca: Annotated[
        Path | None, typer.Option(help="PEM file of the authority that vouches for the gateway.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for a script to read.")
    ] = False,
) -> None:
    """Send photos to a service that is up, and see that each gets its answer.

    Needs the extra `bench`. Exit code 1: not ready, or a photo failed; 3: no service answered.
    """
    seconds, allowed = parse_duration(duration), parse_share(allow_errors)
    if rate * seconds > _MOST_PHOTOS:
        raise typer.BadParameter(
            f"--rate and --duration: together more than {_MOST_PHOTOS:,} photos"
        )
    url = _checked(url)
    from benchmarks.serving.errors import check_needs
    from serving.inference import ServiceError

    check_needs(["locust"])
    try:
        _see_that_it_is_ready(url, ca)
    except ServiceError as error:
        if error.status is not None:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(3) from error
    found = _send(url, rate, seconds, photo or [], ca)
    failed = found["sent"] - found["answered"]
    passed = failed <= allowed * found["sent"]
    if as_json:
        asked = {"url": url, "rate": rate, "allowed_errors": allowed, "passed": passed}
        print(json.dumps(asked | found, indent=2))
    else:
        _print(url, found)
    if not passed:
        kinds = ", ".join(f"{each['count']} with {each['kind']}" for each in found["failures"])
        print(f"error: {failed} of {found['sent']} photos failed: {kinds}", file=sys.stderr)
        raise typer.Exit(1)


def parse_duration(text: str) -> float:
    """ "2m" as 120, seconds.

    Raises:
        typer.BadParameter: it is none, or too short or long.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smh]?)", text, re.ASCII)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0
    if not _LEAST_S <= seconds <= _MOST_S:
        raise typer.BadParameter(
            f"--duration {text!r}: must be as 30, 30s, 2m or 1h; from a second to a day"
        )
    return seconds


def parse_share(text: str) -> float:
    """ "1%" or "0.01" as 0.01.

    Raises:
        typer.BadParameter: it is no share.
    """
    match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,9})?)(%?)", text, re.ASCII)
    share = float(match[1]) / (100 if match[2] else 1) if match else 2
    if share > 1:
        raise typer.BadParameter(f"--allow-errors {text!r}: must be as 0.01 or 1%; at most 100%")
    return share


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        beyond = parts.query or parts.fragment or parts.username or parts.password
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not beyond:
            return url.rstrip("/")
    except ValueError:  # a port that is no number, or an unclosed bracket
        pass
    raise typer.BadParameter(f"URL {url!r}: must be as http://127.0.0.1:8000")


def _see_that_it_is_ready(url: str, ca: Path | None) -> None:
    """Ask the gateway itself.

    Raises:
        ServiceError: it is not ready, or no gateway, or nobody answers (status None).
        OSError: the authority's file cannot be read.
    """
    import requests

    from serving.inference import ServiceError

    if ca is not None:
        ca.open("rb").close()
    try:
        with requests.Session() as session:
            # As the load itself, it takes no proxy.
            session.trust_env = False
            session.verify = True if ca is None else str(ca)
            answer = session.get(f"{url}/readyz", timeout=_LOOK_S, allow_redirects=False)
    except requests.exceptions.SSLError as error:
        raise ServiceError(
            f"{url} has no certificate that can be trusted ({error}); --ca names a private "
            "authority's file"
        ) from error
    except requests.RequestException as error:
        raise ServiceError(
            f"{url} does not answer ({type(error).__name__}); is the stack up?"
        ) from error
    status = answer.status_code
    try:
        models = json.loads(answer.content)["models"]
        problems = {name: told["problem"] for name, told in models.items()}
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ServiceError(f"{url}/readyz answers {status}: not a gateway", status) from None
    if status != 200:
        why = "; ".join(
            f"{name}: {problem or 'has not answered a photo lately'}"
            for name, problem in problems.items()
        )
        raise ServiceError(f"{url} is not ready: {why or 'it has no model'}", status)


def _send(
    url: str, rate: float, seconds: float, photos: Sequence[Path], ca: Path | None
) -> dict[str, Any]:
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    from benchmarks.serving.load.smoke import run_smoke
    from training.progress import progress_bar

    with _files(photos) as files, progress_bar() as bar:
        task = bar.add_task("load", total=None)

        def show(requests: int, ended: int, failed: int) -> None:
            note = f"{failed} failed" if failed else ""
            bar.update(task, total=requests, completed=ended, note=note)

        smoke = run_smoke(url, files, rate, seconds, ca or Path(DEFAULT_CA_BUNDLE_PATH), show)
        return smoke.report() | {"photos": [path.name for path in files]}


@contextmanager
def _files(photos: Sequence[Path]) -> Iterator[list[Path]]:
    """Those given, or drawn ones of 500 x 375, for as long as they are needed."""
    if photos:
        for path in photos:
            path.open("rb").close()
        yield list(photos)
        return
    from benchmarks.serving.photos import photo_set

    with TemporaryDirectory() as folder:
        files = []
        for drawn in photo_set("small"):
            files.append(Path(folder) / drawn.name)
            files[-1].write_bytes(drawn.data)
        yield files


def _print(url: str, found: dict[str, Any]) -> None:
    from serving.terminal import print_table

    print(f"{url}: {found['sent']} photos in {found['seconds']:g} s from {found['began']}")
    for header, rows in _tables(found):
        print()
        print_table(header, rows)
    if "429" in found["statuses"]:
        print(f"\n{_RATE_NOTE}")


def _tables(found: dict[str, Any]) -> Iterator[tuple[Sequence[str], list[Sequence[object]]]]:
    """Headers with their rows."""
    yield (
        ("", "photos", ""),
        [
            ("offered", found["sent"], f"{found['offered_per_s']:.1f} a second"),
            ("answered", found["answered"], f"{found['answered_per_s']:.1f} a second, in time"),
            ("refused", found["refused"], "429, 503"),
            ("other", found["other"], "another status than 200"),
            ("no answer", found["unanswered"], "not a whole one"),
        ],
    )
    if found["answered"]:
        latencies = found["latency_ms"]
        yield ("", *latencies), [("ms", *(f"{ms:.0f}" for ms in latencies.values()))]
    for title, names in (("versions", ("model", "version")), ("failures", ("kind",))):
        if found[title]:
            yield (title, "photos", "first", "last"), [_span(each, names) for each in found[title]]
    if found["first_failures"]:
        yield ("at", "first failures", ""), [_failure(each) for each in found["first_failures"]]


def _span(each: dict[str, Any], names: Sequence[str]) -> Sequence[object]:
    name = " ".join(each[name] for name in names).strip() or "not told"
    return name, each["count"], f"{each['first_s']:.1f} s", f"{each['last_s']:.1f} s"


def _failure(each: dict[str, Any]) -> Sequence[object]:
    reason = "" if each["kind"].endswith(each["reason"]) else each["reason"]
    return f"{each['at_s']:.1f} s", each["kind"], reason
