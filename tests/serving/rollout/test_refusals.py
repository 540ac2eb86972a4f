"""What is refused, and leaves the default and the model store as they were."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import describe_as, pack, unpack
from tests.serving.rollout.operator import QUICK, Operator
from tests.serving.rollout.versions import (
    climbing,
    fails_at,
    less_accurate,
    make_version,
    other_classes,
    other_code,
    other_weights,
)

Make = Callable[[Path, Path], Path]


def truncated(archive: Path, folder: Path) -> Path:
    file = make_version(archive, folder, "0.2")
    file.write_bytes(file.read_bytes()[:-5000])
    return file


def with_climbing_entry(archive: Path, folder: Path) -> Path:
    return climbing(archive, folder / "climbing.mar")


def flipped_weight(archive: Path, folder: Path) -> Path:
    file = make_version(archive, folder, "0.2")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file


def changed_code(archive: Path, folder: Path) -> Path:
    content = unpack(make_version(archive, folder, "0.2"), folder / "again")
    other_code(content)
    return pack(content, folder / "changed.mar", seal=False)


def wrong_classes(archive: Path, folder: Path) -> Path:
    return make_version(archive, folder, "0.2", other_classes)


def lower_accuracy(archive: Path, folder: Path) -> Path:
    return make_version(archive, folder, "0.2", less_accurate)


def failing_golden_set(archive: Path, folder: Path) -> Path:
    return make_version(archive, folder, "0.2", other_weights)


def same_number_other_bytes(archive: Path, folder: Path) -> Path:
    return make_version(archive, folder, "0.1", other_code)


def climbing_name(archive: Path, folder: Path) -> Path:
    content = unpack(archive, folder / "content")
    describe_as(content, "../escaped", "0.2")
    return pack(content, folder / "climbing-name.mar", seal=True)


def fails_in_self_test(archive: Path, folder: Path) -> Path:
    return make_version(archive, folder, "0.2", fails_at(3))


def fails_under_watch(archive: Path, folder: Path) -> Path:
    # The golden set is asked twice before: in the self-test, and in the comparison.
    return make_version(archive, folder, "0.2", fails_at(17))


REFUSED: dict[str, tuple[Make, str, str]] = {
    "truncated": (truncated, "verify", "zip"),
    "climbs out": (with_climbing_entry, "verify", "../../escaped.txt"),
    "climbing name": (climbing_name, "verify", "'../escaped'"),
    "changed weights": (flipped_weight, "verify", "weights.safetensors"),
    "changed code": (changed_code, "verify", "handlers/predictions.py"),
    "other classes": (wrong_classes, "compare cards", "Dachshund"),
    "lower accuracy": (lower_accuracy, "compare cards", "0.5"),
    "used number": (same_number_other_bytes, "verify", "never changes"),
    "golden set": (failing_golden_set, "register", "0.1 answers as before"),
    "self-test": (fails_in_self_test, "self-test", "0.1 answers as before"),
    "watch": (fails_under_watch, "watch", "0.1 answers as before"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(
    name: str, operator: Operator, demo_archive: Path, cat_photo: bytes, tmp_path: Path
) -> None:
    make, step, says = REFUSED[name]
    file = make(demo_archive, tmp_path)
    before = operator.archives()
    result = operator.run("deploy", str(file), "--watch", "8")
    assert result.returncode == 1, result.stdout
    assert says in result.stderr
    assert f"failed  {step}" in result.stderr
    assert_as_before(operator, before, cat_photo)
    last = operator.events()[-1]
    assert last["outcome"] in ("refused", "undone")
    assert last["reason"]
    assert not (operator.store.parent / "escaped.txt").exists()


# From when it copies on, no file can grow beyond half of the archive's size: the write fails
# half-way, just as on a disk that is full.
_FULL_DISK = """
import os, resource, sys
from pathlib import Path
from serving.rollout.candidate import Options
from serving.rollout.deploy import DeployError, deploy
from serving.rollout.report import Report
from serving.rollout.site import Site

def show(step):
    if (step.name, step.outcome) == ("copy", "begun"):
        half = file.stat().st_size // 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (half, half))

site, file = Site.find(sys.argv[1]), Path(sys.argv[2])
try:
    deploy(site, file, Options(), Report(site.store, "deploy", show))
except DeployError as error:
    sys.exit(f"refused: {error}")
"""


def test_a_disk_that_fills_up_while_it_is_copied(
    operator: Operator, next_version: Path, cat_photo: bytes
) -> None:
    before = operator.archives()
    result = subprocess.run(
        (sys.executable, "-c", _FULL_DISK, operator.url, str(next_version)),
        env=operator.server.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr.startswith("refused: "), result.stderr
    assert "copy: " in result.stderr
    assert "File too large" in result.stderr
    assert "0.1 answers as before" in result.stderr
    assert_as_before(operator, before, cat_photo)


def test_a_rollback_while_the_disk_is_full(
    operator: Operator, next_version: Path, cat_photo: bytes
) -> None:
    """Whom the bad version hurts is helped at once, and told that it does not last."""
    operator.deploy(next_version)

    def no_writing() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    refused = operator.run("rollback", before=no_writing)
    assert refused.returncode == 1
    assert "0.1 answers, but that is not recorded" in refused.stderr
    assert operator.ask(cat_photo).version == "0.1"
    operator.done("rollback")
    operator.done("retire", "0.2", "--delete")
    assert operator.states() == {"0.1": "default"}


def test_only_what_the_key_has_signed(
    operator: Operator, next_version: Path, cat_photo: bytes, tmp_path: Path
) -> None:
    before = operator.archives()
    for key in ("ours", "theirs"):
        run = operator.run("keygen", str(tmp_path / key))
        assert run.returncode == 0, run.stderr
    signed = tmp_path / next_version.name
    signed.write_bytes(next_version.read_bytes())
    required = ("--require-signature", str(tmp_path / "ours.pub"))

    def refused() -> str:
        result = operator.run("deploy", str(signed), *QUICK, *required)
        assert result.returncode == 1
        assert "failed  verify" in result.stderr
        assert_as_before(operator, before, cat_photo)
        return result.stderr

    assert f"{signed.name}.sig" in refused()
    operator.run("sign", str(signed), "--key", str(tmp_path / "theirs"))
    assert "key" in refused()
    operator.run("sign", str(signed), "--key", str(tmp_path / "ours"))
    signature = Path(f"{signed}.sig")
    good = signature.read_text()
    signature.write_text(good.replace('"signature": "', '"signature": "AAAA'))
    assert "signature" in refused()
    signature.write_text(good)
    operator.deploy(signed, *required)
    assert f"{signed.name}.sig" in operator.archives()
    operator.done("rollback")
    operator.done("retire", "0.2", "--delete")
    assert operator.archives() == before


@pytest.mark.parametrize("share", ["10", "0%", "101%", "some"])
def test_a_share_that_is_none(operator: Operator, next_version: Path, share: str) -> None:
    result = operator.run("deploy", str(next_version), "--canary", share)
    assert result.returncode == 2
    assert "percentage" in result.stderr


def assert_as_before(operator: Operator, archives: list[str], photo: bytes) -> None:
    assert operator.states() == {"0.1": "default"}
    assert operator.models()["0.1"]["ready"]
    assert operator.archives() == archives
    assert operator.ask(photo).version == "0.1"
