"""The manifests of docker/kubernetes as kustomize makes them, and what tests ask of them."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import typer.main
import yaml
from typer.core import TyperGroup

from serving.cli import app
from training.archive import DEFAULT_MODEL_CONFIG

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker" / "kubernetes"
# What the archives that an overlay is for are packed with.
MODEL_CONFIGS = {
    "overlays/cpu": DEFAULT_MODEL_CONFIG,
    "overlays/gpu": DEFAULT_MODEL_CONFIG.with_name("model-config-gpu.yaml"),
}
KUBECTL = Path(sys.executable).with_name("kubectl")

Resource = dict[str, Any]
Labels = Mapping[str, str]


def kustomized(folder: Path) -> list[Resource]:
    """What `kubectl apply -k` would send of a folder.

    Raises:
        AssertionError: kustomize refuses it, or warns of something in it; with its words.
    """
    done = subprocess.run(
        (str(KUBECTL), "kustomize", str(folder)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return list(yaml.safe_load_all(done.stdout))


def manifests(name: str) -> list[Resource]:
    """Those of a folder of docker/kubernetes; the caller's own copy."""
    return copy.deepcopy(_kustomized_once(name))


@cache
def _kustomized_once(name: str) -> list[Resource]:
    return kustomized(FOLDER / name)


def only(resources: Iterable[Resource], kind: str, name: str | None = None) -> Resource:
    """The one resource of that kind, and of that name where one is given."""
    found = [each for each in resources if each["kind"] == kind]
    (one,) = [each for each in found if name in (None, each["metadata"]["name"])]
    return one


def pod_of(resource: Resource) -> Resource:
    """The pod's spec, of a Deployment or of a Pod."""
    spec: Resource = resource["spec"]
    pod: Resource = spec["template"]["spec"] if "template" in spec else spec
    return pod


def all_containers(pod_spec: Resource) -> dict[str, Resource]:
    """Name -> container, those that start before others included."""
    both = [*pod_spec.get("initContainers", ()), *pod_spec["containers"]]
    named: dict[str, Resource] = {each["name"]: each for each in both}
    assert len(named) == len(both)
    return named


def environment(container: Resource) -> dict[str, str]:
    """The variables that a container sets."""
    return {each["name"]: each["value"] for each in container.get("env", ())}


def catbreeds_command(container: Resource) -> str:
    """The command of `catbreeds` that a container runs: the image brings the rest."""
    assert "command" not in container
    return str(container["args"][0])


def arguments(container: Resource) -> dict[str, Any]:
    """What the command line makes of the container's arguments, by parameter.

    Raises:
        click.UsageError: no such option, or an impossible value.
    """
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    name = catbreeds_command(container)
    return group.commands[name].make_context(name, list(container["args"][1:])).params


def selects(selector: Resource, labels: Labels) -> bool:
    """Whether a label selector matches; an empty one matches everything.

    Raises:
        ValueError: it has anything but `matchLabels`.
    """
    if set(selector) - {"matchLabels"}:
        raise ValueError(f"not looked at here: {selector}")
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def admits(policies: Iterable[Resource], to: Labels, namespace: Labels, port: int) -> bool:
    """Whether a pod with the labels `to` can be reached at a port from a namespace.

    A pod that some policy selects can be reached only by what some rule of one of them allows
    (https://kubernetes.io/docs/concepts/services-networking/network-policies/).

    Args:
        namespace: labels of the namespace that the connection comes from.
    """
    about_it = [
        each["spec"]
        for each in policies
        if "Ingress" in each["spec"]["policyTypes"] and selects(each["spec"]["podSelector"], to)
    ]
    rules = [rule for spec in about_it for rule in spec.get("ingress", ())]
    return not about_it or any(_allows(rule, namespace, port) for rule in rules)


def _allows(rule: Resource, namespace: Labels, port: int) -> bool:
    # A rule without `from` is for everybody, one without `ports` for every port: neither is here.
    peers, ports = rule["from"], rule["ports"]
    for peer in peers:
        if set(peer) != {"namespaceSelector"}:
            raise ValueError(f"not looked at here: {peer}")
    return any(selects(peer["namespaceSelector"], namespace) for peer in peers) and any(
        each["protocol"] == "TCP" and each["port"] == port for each in ports
    )
