"""The Dockerfile: what hadolint says of it, and what it copies."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DOCKER = Path(__file__).parent.parent.parent / "docker"


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_there_and_is_let_in() -> None:
    ignored = (DOCKER.parent / ".dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", _dockerfile(), re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert {"handlers", "docker/finish.sh"} <= {*copied}
    for source in copied:
        assert (DOCKER.parent / source).exists()
        assert any(Path(source).match(each) or source.startswith(f"{each}/") for each in let_in)


def test_each_image_runs_as_a_user_without_rights_and_says_what_it_is() -> None:
    images = _dockerfile().split("\nFROM base AS ")[2:]
    assert [image.split()[0] for image in images] == ["web", "torchserve"]
    for image in images:
        assert re.search(r"^USER 1000[12]:10001$", image, re.MULTILINE)
        assert re.search(r"^HEALTHCHECK ", image, re.MULTILINE)
        assert 'ENTRYPOINT ["tini", "--", "catbreeds"]' in image
        for label in ("title", "version", "revision", "licenses"):
            assert f"org.opencontainers.image.{label}=" in image


def _dockerfile() -> str:
    return (DOCKER / "Dockerfile").read_text()
