"""Deploy, look, roll back, retire: the way that things should go."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.service import DEMO
from tests.serving.rollout.operator import Operator
from tests.serving.rollout.versions import fails_at, make_version
from tests.serving.serve_process import CATBREEDS

STEPS = ["verify", "compare cards", "copy", "register", "self-test", "shadow", "switch", "watch"]


def test_the_way_of_a_version(operator: Operator, next_version: Path, cat_photo: bytes) -> None:
    first = operator.models()
    assert operator.states() == {"0.1": "default"}
    assert first["0.1"]["ready"]
    assert first["0.1"]["workers"] == 1
    assert first["0.1"]["memory_bytes"] > 50_000_000
    assert 0.9 <= first["0.1"]["top1"] <= 1

    dry = operator.done("deploy", str(next_version), "--dry-run")
    assert (dry["outcome"], dry["changed"]) == ("would deploy", True)
    assert operator.states() == {"0.1": "default"}
    assert operator.archives() == [f"{DEMO}-0.1.mar"]

    deployed = operator.deploy(next_version)
    assert (deployed["outcome"], deployed["previous"]) == ("deployed", "0.1")
    assert [step["name"] for step in deployed["steps"]][: len(STEPS)] == STEPS
    assert all(step["outcome"] == "ok" for step in deployed["steps"])
    assert operator.states() == {"0.2": "default", "0.1": "previous"}
    assert operator.ask(cat_photo).version == "0.2"
    assert operator.ask(cat_photo, "0.1").version == "0.1"

    again = operator.deploy(next_version)
    assert again["outcome"] == "unchanged"

    assert operator.done("rollback", "--dry-run")["version"] == "0.1"
    assert operator.states() == {"0.2": "default", "0.1": "previous"}
    back = operator.done("rollback")
    assert (back["outcome"], back["previous"], back["version"]) == ("rolled back", "0.2", "0.1")
    assert operator.ask(cat_photo).version == "0.1"
    assert operator.states() == {"0.1": "default", "0.2": "on disk"}

    refused = operator.run("rollback")
    assert refused.returncode == 1
    assert "no version was deployed before 0.1; `catbreeds rollback VERSION` takes 0.2" in (
        refused.stderr
    )

    forward = operator.done("rollback", "0.2")
    assert forward["version"] == "0.2"
    assert operator.ask(cat_photo).version == "0.2"
    refused = operator.run("retire", "0.2")
    assert refused.returncode == 1
    assert "is the default" in refused.stderr
    operator.done("rollback")
    assert operator.done("retire", "0.2", "--dry-run")["outcome"] == "would retire"
    assert "0.2" in operator.states()
    operator.done("retire", "0.2", "--delete")
    assert operator.states() == {"0.1": "default"}
    assert operator.archives() == [f"{DEMO}-0.1.mar"]


def test_the_history_tells_what_was_done_and_why(operator: Operator, next_version: Path) -> None:
    operator.deploy(next_version)
    operator.done("rollback")
    operator.done("retire", "0.2", "--delete")
    events = operator.events()
    done = [event for event in events if event["step"] == "done"][-3:]
    assert [event["action"] for event in done] == ["deploy", "rollback", "retire"]
    assert {event["version"] for event in done[::2]} == {"0.2"}
    verified = next(event for event in events if event["step"] == "verify")
    assert verified["sha256"]
    assert verified["details"]["metrics"]["top1"] > 0.5
    lines = (operator.store / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [event["step"] for event in events]
    printed = operator.run("history", "--limit", "2").stdout.splitlines()
    assert len(printed) == 2
    assert "retire" in printed[1]


def test_versions_beyond_keep_are_unloaded(
    operator: Operator, next_version: Path, demo_archive: Path, tmp_path: Path
) -> None:
    third = make_version(demo_archive, tmp_path, "0.3")
    operator.deploy(next_version)
    operator.deploy(third)
    assert operator.states() == {"0.3": "default", "0.2": "previous", "0.1": "on disk"}
    operator.done("rollback", "0.1")
    assert operator.states() == {"0.1": "default", "0.3": "on disk", "0.2": "on disk"}
    for version in ("0.2", "0.3"):
        operator.done("retire", version, "--delete")


def test_an_archive_that_rots_on_disk(
    operator: Operator, next_version: Path, cat_photo: bytes
) -> None:
    """It cannot be rolled back to, and deploying it again puts it right."""
    operator.deploy(next_version)
    operator.done("rollback")
    kept = operator.store / next_version.name
    kept.write_bytes(kept.read_bytes()[:-1])
    refused = operator.run("rollback", "0.2")
    assert refused.returncode == 1
    assert "0.1 answers as before" in refused.stderr
    assert operator.states() == {"0.1": "default", "0.2": "on disk"}
    assert operator.ask(cat_photo).version == "0.1"
    operator.deploy(next_version)
    assert kept.read_bytes() == next_version.read_bytes()
    operator.done("rollback")
    operator.done("retire", "0.2", "--delete")


def test_two_workers_are_two_after_a_restart_as_well(
    operator: Operator, next_version: Path
) -> None:
    operator.deploy(next_version, "--workers", "2")
    row = operator.models()["0.2"]
    assert (row["workers"], row["workers_wanted"]) == (2, 2)
    operator.done("rollback")
    operator.done("rollback", "0.2")
    assert operator.models()["0.2"]["workers"] == 2
    operator.done("rollback", "0.1")
    operator.done("retire", "0.2", "--delete")


def test_one_command_at_a_time(operator: Operator, next_version: Path) -> None:
    first = operator.start("deploy", str(next_version), "--watch", "4")
    assert first.stderr is not None
    while "register" not in first.stderr.readline():
        assert first.poll() is None
    second = operator.run("rollback")
    assert second.returncode == 1
    assert f"`catbreeds deploy {next_version.name}` is at work" in second.stderr
    waited = operator.done("rollback", "--wait", "60")
    assert first.wait() == 0
    first.communicate()
    assert waited["previous"] == "0.2"
    operator.done("retire", "0.2", "--delete")


def test_waiting_for_a_deploy_that_fails_there_is_nothing_to_roll_back(
    operator: Operator, next_version: Path, demo_archive: Path, tmp_path: Path
) -> None:
    operator.deploy(next_version)
    broken = make_version(demo_archive, tmp_path, "0.4", fails_at(17))
    first = operator.start("deploy", str(broken), "--watch", "30")
    deadline = time.monotonic() + 60
    while operator.states().get("0.4") != "default":
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
    waited = operator.done("rollback", "--wait", "60")
    assert first.wait() == 1
    first.communicate()
    assert (waited["outcome"], waited["version"]) == ("unchanged", "0.2")
    assert operator.states() == {"0.2": "default", "0.1": "previous"}
    operator.done("rollback")
    operator.done("retire", "0.2", "--delete")


def test_without_a_server_the_exit_code_is_3() -> None:
    command = (str(CATBREEDS), "models", "--url", "http://127.0.0.1:1")
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 3
    assert "is `catbreeds serve` up?" in result.stderr


@pytest.mark.parametrize("command", ["models", "history", "rollback", "retire", "deploy"])
def test_each_command_explains_itself(operator: Operator, command: str) -> None:
    result = operator.run(command, "--help")
    assert result.returncode == 0
    assert f"catbreeds {command}" in result.stdout
    assert "Example" in result.stdout
