"""`catbreeds load` on a real gateway, and on a server that answers as no good one should."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
import typer
from hypothesis import given
from hypothesis import strategies as st

from serving import cli
from serving.load_command import parse_duration, parse_share
from serving.settings import free_ports
from tests.service import DEMO, Service
from tests.web.gateway_process import GatewayProcess
from tests.web.scripted_server import Scripted, ScriptedServer

# (exit code, standard output, standard error)
Outcome = tuple[int, str, str]
Load = Callable[..., Outcome]

READY = Scripted(200, {"status": "ready", "models": {"cats": {"problem": None}}})
OLD = Scripted(200, {"model": "cats", "version": "0.1", "predictions": []})
NEW = Scripted(200, {"model": "cats", "version": "0.2", "predictions": []})
BUSY = Scripted(
    503,
    {"type": "urn:catbreeds:problem:overloaded", "detail": "a photo would wait 0.5 s"},
)
LOST = Scripted(0, None)
# Of a second at this rate; the times are the same each time.
SECOND = ("--rate", "20", "--duration", "1s")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Load:
    """Runs the command."""

    def load(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr("sys.argv", ["catbreeds", "load", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        code = exit_.value.code or 0
        assert isinstance(code, int)
        return code, output.out, output.err

    return load


@pytest.fixture
def photo(cat_photo: bytes, tmp_path: Path) -> Path:
    """A file with a cat."""
    path = tmp_path / "cat.jpg"
    path.write_bytes(cat_photo)
    return path


def scripted(load: Load, photo: Path, *answers: Scripted, more: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - (exit code, parsed JSON, standard error, server)
    """A second of load on a server that is ready and then gives these answers."""
    with ScriptedServer(READY, *answers) as server:
        code, shown, errors = load(*SECOND, "--photo", photo, "--json", *more, server.url)
    return code, json.loads(shown), errors, server


def test_a_good_service_answers_each_photo(load: Load, gateway: GatewayProcess) -> None:
    code, shown, errors = load("--rate", "8", "--duration", "2s", "--json", gateway.url)
    assert (code, errors) == (0, "")
    told = json.loads(shown)
    assert told["passed"] is True
    assert told["url"] == gateway.url
    assert told["sent"] == told["answered"] > 5
    assert told["statuses"] == {"200": told["sent"]}
    assert told["offered_per_s"] == told["sent"] / 2
    assert [told[name] for name in ("refused", "other", "unanswered")] == [0, 0, 0]
    assert (told["failures"], told["first_failures"]) == ([], [])
    (version,) = told["versions"]
    assert (version["model"], version["version"]) == (DEMO, "0.1")
    assert version["count"] == told["sent"]
    assert 0 <= version["first_s"] < version["last_s"] < 2
    latencies = list(told["latency_ms"].values())
    assert 0 < latencies[0] <= latencies[1] <= latencies[2] <= latencies[3]
    assert all(re.fullmatch(r"[a-z-]+-500x375\.jpeg", name) for name in told["photos"])


def test_a_person_gets_tables(load: Load, gateway: GatewayProcess, photo: Path) -> None:
    code, shown, errors = load(*SECOND, "--photo", photo, gateway.url)
    # Nothing of a progress bar where nobody watches.
    assert (code, errors) == (0, "")
    rows = [line.split() for line in shown.splitlines()]
    sent = next(row[1] for row in rows if row[:1] == ["offered"])
    assert ["no", "answer", "0"] in [row[:3] for row in rows]
    assert [DEMO, "0.1", sent] in [row[:3] for row in rows]
    assert ["p50", "p95", "p99", "max"] in rows
    assert "CATBREEDS_WEB_RATE" not in shown


def test_above_the_rate_of_a_client_the_setting_is_named(
    load: Load, service: Service, photo: Path, tmp_path: Path
) -> None:
    url = service.server.inference_url
    with GatewayProcess(tmp_path, url, rate="5/minute", models=DEMO) as gateway:
        gateway.wait_until_ready()
        code, shown, errors = load(*SECOND, "--photo", photo, gateway.url)
        assert code == 1
        assert "CATBREEDS_WEB_RATE" in shown
        assert re.fullmatch(r"error: \d+ of \d+ photos failed: \d+ with 429 [a-z-]+\n", errors)
        code, shown, _ = load(*SECOND, "--photo", photo, "--json", gateway.url)
    told = json.loads(shown)
    assert code == 1
    # Refused before it has read the photo, and yet not without an answer.
    assert told["refused"] == told["statuses"]["429"] == told["sent"] - told["answered"] > 0
    assert told["unanswered"] == 0
    assert told["failures"][0]["kind"] == "429 rate-limited"
    assert "5 photos a minute" in told["first_failures"][0]["reason"]


@pytest.mark.parametrize("ca_is_given", [True, False])
def test_a_private_authority_has_to_be_named(
    load: Load, service: Service, photo: Path, tmp_path: Path, ca_is_given: bool
) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    for pem in made.cert_chain_pems:
        pem.write_to_path(tmp_path / "chain.pem", append=True)
    settings = {"certificate": tmp_path / "chain.pem", "private_key": tmp_path / "key.pem"}
    url = service.server.inference_url
    with GatewayProcess(tmp_path, url, models=DEMO, **settings) as gateway:
        ready = f"{gateway.url}/readyz"
        ca = str(tmp_path / "ca.pem")
        gateway.wait_for(lambda: requests.get(ready, timeout=10, verify=ca).ok)
        named = ("--ca", ca) if ca_is_given else ()
        code, shown, errors = load(*SECOND, "--photo", photo, "--json", *named, gateway.url)
    if ca_is_given:
        assert (code, errors) == (0, "")
        assert json.loads(shown)["answered"] > 5
    else:
        assert code == 3
        assert "--ca" in errors
        assert shown == ""


def test_the_change_of_versions_is_seen(load: Load, photo: Path) -> None:
    code, told, errors, _ = scripted(load, photo, OLD, OLD, OLD, NEW)
    assert (code, errors) == (0, "")
    old, new = told["versions"]
    assert (old["version"], old["count"]) == ("0.1", 3)
    assert (new["version"], new["count"]) == ("0.2", told["sent"] - 3)


def test_refusals_and_lost_requests_are_told_apart(load: Load, photo: Path) -> None:
    half = Scripted(200, b'{"model": "cats", "vers')
    page = Scripted(502, "<html>Bad Gateway à la proxy</html>".encode("latin-1"))
    code, told, errors, server = scripted(load, photo, OLD, BUSY, LOST, BUSY, half, page, OLD)
    assert code == 1
    assert told["passed"] is False
    assert told["statuses"] == {"200": told["sent"] - 5, "502": 1, "503": 2}
    assert [told[name] for name in ("refused", "other", "unanswered")] == [2, 1, 2]
    counts = {each["kind"]: each["count"] for each in told["failures"]}
    cut = "no answer: the answer was cut short, or is no JSON"
    assert counts == {"503 overloaded": 2, "no answer: connection closed": 1, cut: 1, "502": 1}
    first = told["first_failures"]
    assert sorted(each["kind"] for each in first) == sorted([*counts, "503 overloaded"])
    reasons = {each["kind"]: each["reason"] for each in first}
    assert reasons["503 overloaded"] == "a photo would wait 0.5 s"
    assert all(0 <= each["at_s"] < 1 for each in first)
    assert errors.startswith(f"error: 5 of {told['sent']} photos failed: ")
    assert "2 with 503 overloaded" in errors
    assert len(errors.splitlines()) == 1
    # None was sent a second time.
    assert len(server.asked) == 1 + told["sent"]


def test_failures_are_shown_with_when_and_why(load: Load, photo: Path) -> None:
    with ScriptedServer(READY, OLD, BUSY, LOST, OLD) as server:
        code, shown, _ = load(*SECOND, "--photo", photo, server.url)
    assert code == 1
    assert re.search(r"^0\.\d s +503 overloaded +a photo would wait 0\.5 s$", shown, re.MULTILINE)
    assert re.search(r"^no answer +1 ", shown, re.MULTILINE)
    assert re.search(r"^refused +1 ", shown, re.MULTILINE)


@pytest.mark.parametrize(("allowed", "expected"), [("50%", 0), ("0.5", 0), ("1%", 1)])
def test_a_share_may_fail(load: Load, photo: Path, allowed: str, expected: int) -> None:
    more = ("--allow-errors", allowed)
    code, told, errors, _ = scripted(load, photo, OLD, BUSY, OLD, more=more)
    assert code == expected
    assert told["passed"] is (expected == 0)
    assert bool(errors) is (expected == 1)


def test_the_files_that_are_named_are_sent_in_turn(load: Load, photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.webp"
    other.write_bytes(b"another photo")
    more = ("--photo", str(other))
    code, told, _, server = scripted(load, photo, OLD, more=more)
    assert code == 0
    assert told["photos"] == ["cat.jpg", "other.webp"]
    (looked, *asked) = server.asked
    assert looked[:2] == ("GET", "/readyz")
    assert {each[:2] for each in asked} == {("POST", "/api/classify")}
    assert {each[2] for each in asked} == {photo.read_bytes(), b"another photo"}


def test_where_nobody_listens_it_ends_at_once(load: Load) -> None:
    (port,) = free_ports(1)
    code, shown, errors = load(f"http://127.0.0.1:{port}")
    assert code == 3
    assert re.fullmatch(r"error: http://127\.0\.0\.1:\d+ does not answer \(.*\n", errors)
    assert shown == ""


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            Scripted(503, {"status": "not ready", "models": {"cats": {"problem": "no worker"}}}),
            "is not ready: cats: no worker",
        ),
        (
            Scripted(503, {"status": "not ready", "models": {"cats": {"problem": None}}}),
            "is not ready: cats: has not answered a photo lately",
        ),
        (Scripted(503, {"status": "not ready", "models": {}}), "is not ready: it has no model"),
        (Scripted(404, {"detail": "Not Found"}), "/readyz answers 404: not a gateway"),
        (Scripted(200, b"<html>"), "/readyz answers 200: not a gateway"),
        (Scripted(200, ["models"]), "/readyz answers 200: not a gateway"),
    ],
)
def test_nothing_is_sent_to_what_is_not_ready(load: Load, answer: Scripted, line: str) -> None:
    with ScriptedServer(answer) as server:
        code, shown, errors = load(server.url)
    assert (code, shown) == (1, "")
    assert errors == f"error: {server.url}{'' if line.startswith('/') else ' '}{line}\n"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        ("127.0.0.1:8000",),
        ("ftp://127.0.0.1",),
        ("http://",),
        ("http://127.0.0.1:none",),
        ("http://user:word@127.0.0.1:8000",),
        ("http://127.0.0.1:8000/?a=b",),
        ("--duration", "soon"),
        ("--allow-errors", "2"),
        ("--rate", "0"),
        ("--rate", "1000", "--duration", "24h"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_sent(load: Load, wrong: tuple[str, ...]) -> None:
    code, shown, errors = load(*wrong)
    assert (code, shown) == (2, "")
    assert wrong[0].removeprefix("--") in errors or "URL" in errors


@pytest.mark.parametrize("option", ["--photo", "--ca"])
def test_a_file_that_is_not_there_is_named(load: Load, option: str, tmp_path: Path) -> None:
    with ScriptedServer(READY) as server:
        code, shown, errors = load(option, tmp_path / "none", server.url)
    assert (code, shown) == (1, "")
    assert errors == f"error: {tmp_path / 'none'}: No such file or directory\n"


def test_without_locust_one_line_says_how_to_get_it(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, errors = load()
    assert code == 1
    assert re.fullmatch(r"error: the Python package locust is not installed: .*\n", errors)


def test_the_help_has_an_example(load: Load) -> None:
    code, shown, _ = load("--help")
    assert code == 0
    assert "Example: catbreeds load" in shown


@given(st.integers(1, 86_400), st.sampled_from("smh"))
def test_a_duration_is_read_as_it_is_written(count: int, unit: str) -> None:
    seconds = count * {"s": 1, "m": 60, "h": 3600}[unit]
    if seconds <= 86_400:
        assert parse_duration(f"{count}{unit}") == seconds
        assert parse_duration(f"{seconds}") == parse_duration(f"{seconds}.0s") == seconds
    else:
        with pytest.raises(typer.BadParameter):
            parse_duration(f"{count}{unit}")


@given(st.text() | st.from_regex(r"[-+0-9.]{1,6}[smhd%]?"))
def test_any_other_text_is_refused(text: str) -> None:
    for parse, least, most in ((parse_duration, 1.0, 86_400.0), (parse_share, 0.0, 1.0)):
        try:
            found = parse(text)
        except typer.BadParameter:
            continue
        assert least <= found <= most


@given(st.integers(0, 100))
def test_a_share_may_be_a_percentage(percent: int) -> None:
    assert parse_share(f"{percent}%") == parse_share(f"{percent / 100}") == percent / 100
