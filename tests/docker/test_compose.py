"""The stack of one machine as its files say it; where Docker is at hand, as Compose reads it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from serving.cli import app
from web.settings import PREFIX, Settings

DOCKER = Path(__file__).parent.parent.parent / "docker"
PUBLISHED = {"web": "8000", "prometheus": "9090", "grafana": "3000"}


def environment() -> dict[str, str]:
    """The defaults of docker/.env."""
    lines = (DOCKER / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def compose(file: str = "compose.yaml", **given: str) -> dict[str, Any]:
    """A compose file with its variables filled in."""
    known = environment() | given

    def value(match: re.Match[str]) -> str:
        name, _, otherwise = match[1].partition(":-")
        assert name in known or ":-" in match[1], f"{match[0]} has no default"
        return known.get(name, otherwise)

    text = re.sub(r"\$\{([^}]*)\}", value, (DOCKER / file).read_text())
    content: dict[str, Any] = yaml.safe_load(text)
    return content


SERVICES: dict[str, dict[str, Any]] = compose()["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_has_as_few_rights_as_it_can(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert re.fullmatch(r"\d+[gm]", service["mem_limit"])
    for key in ("privileged", "cap_add", "pid", "ipc", "user"):
        assert key not in service


def test_only_the_gateway_is_public_and_even_that_on_loopback_at_first() -> None:
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert {name for name, ports in published.items() if ports} == {*PUBLISHED}
    for name, port in PUBLISHED.items():
        (binding,) = published[name]
        assert re.fullmatch(rf"127\.0\.0\.1:\d+:{port}", binding)
    (binding,) = compose(CATBREEDS_PUBLISH="0.0.0.0:80")["services"]["web"]["ports"]
    assert binding == "0.0.0.0:80:8000"


def test_torchserve_is_on_the_inner_network_alone() -> None:
    assert compose()["networks"]["inside"]["internal"] is True
    for name in ("torchserve", "torchserve-gpu"):
        assert {*SERVICES[name]["networks"]} == {"inside"}
    assert SERVICES["demo"]["network_mode"] == "none"


def test_what_serves_starts_again_and_says_how_it_is() -> None:
    for name, service in SERVICES.items():
        if name == "demo":
            assert service["restart"] == "no"
        else:
            assert service["restart"] == "unless-stopped"
            assert service["healthcheck"]["interval"] == "10s"


def test_profiles_choose_one_torchserve_under_one_name() -> None:
    assert environment()["COMPOSE_PROFILES"] == "cpu"
    for name, profile in (("torchserve", "cpu"), ("torchserve-gpu", "gpu")):
        assert SERVICES[name]["profiles"] == [profile]
        assert SERVICES[name]["networks"]["inside"]["aliases"] == ["torchserve"]
    assert {*SERVICES["web"]["depends_on"]} == {"torchserve", "torchserve-gpu"}
    gpu = SERVICES["torchserve-gpu"]
    assert gpu["build"]["args"]["ACCELERATOR"] == "cuda"
    assert gpu["command"] == SERVICES["torchserve"]["command"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_volumes_are_declared_and_files_are_there() -> None:
    volumes = compose()["volumes"]
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source, _, rest = mount.partition(":")
            if source.startswith("."):
                assert (DOCKER / source).exists(), f"{name}: {mount}"
                assert rest.endswith(":ro")
            else:
                assert source in volumes, f"{name}: {mount}"


def test_the_gateway_reads_what_torchserve_keeps_for_it_and_cannot_change_it() -> None:
    (folder,) = [
        word.partition("=")[2]
        for word in SERVICES["torchserve"]["command"]
        if word.startswith("--gateway-folder")
    ]
    assert f"gateway:{folder}" in SERVICES["torchserve"]["volumes"]
    assert SERVICES["web"]["volumes"] == [f"gateway:{folder}:ro"]
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert f"CATBREEDS_WEB_SERVER_FOLDER={folder}" in dockerfile
    # The token is in memory, for the group that both images' users are in.
    options = compose()["volumes"]["gateway"]["driver_opts"]
    assert options["type"] == "tmpfs"
    assert {"mode=2750", "gid=10001"} <= {*options["o"].split(",")}
    users = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
    assert users == [("10002", "10001"), ("10001", "10001")]


@pytest.mark.parametrize("file", ["compose.yaml", "compose.tls.yaml"])
def test_settings_of_the_gateway_are_those_that_it_has(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"CERTIFICATE:?a PEM file with the certificate's chain": "c.pem"}
    given |= {"PRIVATE_KEY:?a PEM file with the certificate's key": "k.pem"}
    overlay = compose(file, **given)["services"]["web"]["environment"]
    settings = SERVICES["web"]["environment"] | overlay
    for name, value in {**settings, f"{PREFIX}SERVER_FOLDER": "/gateway"}.items():
        monkeypatch.setenv(name, value)
    Settings(host="0.0.0.0")  # noqa: S104 - refuses unknown names and impossible values


def test_the_options_of_serve_exist() -> None:
    command = SERVICES["torchserve"]["command"]
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    group.commands[command[0]].make_context(command[0], list(command[1:]))


def test_compose_itself_takes_the_files() -> None:
    docker = shutil.which("docker")
    version = [docker or "docker", "compose", "version"]
    if docker is None or subprocess.run(version, capture_output=True).returncode:
        pytest.skip("no Docker Compose")
    found = subprocess.run(
        [docker, "compose", "--file", str(DOCKER / "compose.yaml"), "config", "--format", "json"],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    # The other profile's service is left out.
    assert {*json.loads(found.stdout)["services"]} == {*SERVICES} - {"torchserve-gpu"}
