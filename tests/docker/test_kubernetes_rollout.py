"""How a release of docker/kubernetes comes and goes: its archives, probes, and orderly end."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from starlette.routing import Mount, Route

from serving import torchserve
from serving.status import STATUS_FILE
from tests.docker.kubernetes_manifests import (
    FOLDER,
    MODEL_CONFIGS,
    ROOT,
    Resource,
    all_containers,
    environment,
    kustomized,
    manifests,
    only,
    pod_of,
)
from tests.service import DEMO
from tests.serving.serve_process import CATBREEDS, ServeProcess
from tests.web.gateway_process import GatewayProcess
from web import command
from web.app import create_app
from web.settings import PREFIX, Settings

OVERLAYS = ("overlays/cpu", "overlays/gpu")
ARCHIVE = f"{DEMO}-0.1.mar"
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()


def _pod(overlay: str) -> Resource:
    return pod_of(only(manifests(overlay), "Deployment"))


def _copy_archives(pod: Resource, names: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the init container's own script, with folders in place of its mounts."""
    container = all_containers(pod)["archives"]
    script = container["args"][0]
    places = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    for name in ("store", "models"):
        script = script.replace(f'"{places[name]}/', f'"{folder / name}/')
        script = script.replace(f" {places[name]}/\n", f" {folder / name}/\n")
    assert set(environment(container)) == {"MODEL_ARCHIVES"}
    path = f"{CATBREEDS.parent}:{os.environ['PATH']}"
    return subprocess.run(
        (*container["command"], script),
        env=os.environ | {"MODEL_ARCHIVES": names, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path, model_store: Path) -> Path:
    """A store with the demo, and an empty folder of models."""
    (tmp_path / "store").mkdir()
    (tmp_path / "models").mkdir()
    shutil.copy(model_store / ARCHIVE, tmp_path / "store")
    return tmp_path


def test_a_pod_gets_the_archives_that_it_names(folder: Path) -> None:
    shutil.copy(folder / "store" / ARCHIVE, folder / "store" / "other.mar")
    shutil.copy(folder / "store" / ARCHIVE, folder / "store" / "older.mar")
    done = _copy_archives(_pod("overlays/cpu"), f"{ARCHIVE} other.mar", folder)
    assert done.returncode == 0, done.stderr
    assert {each.name for each in (folder / "models").iterdir()} == {ARCHIVE, "other.mar"}


def test_a_pod_with_a_damaged_archive_does_not_start(folder: Path) -> None:
    archive = folder / "store" / ARCHIVE
    damaged = bytearray(archive.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    archive.write_bytes(damaged)
    done = _copy_archives(_pod("overlays/cpu"), ARCHIVE, folder)
    assert done.returncode != 0
    assert f"error: {folder / 'models' / ARCHIVE}" in done.stderr


def test_a_pod_whose_archive_is_not_there_does_not_start(folder: Path) -> None:
    done = _copy_archives(_pod("overlays/cpu"), "cat-breeds-9.9.mar", folder)
    assert done.returncode != 0
    assert "cat-breeds-9.9.mar" in done.stderr


def test_a_pod_answers_a_photo(folder: Path, cat_photo: bytes) -> None:
    pod = _pod("overlays/cpu")
    containers = all_containers(pod)
    assert _copy_archives(pod, ARCHIVE, folder).returncode == 0
    web, torchserve = containers["web"], containers["torchserve"]
    (shared,) = (e["mountPath"] for e in web["volumeMounts"] if e["name"] == "gateway")
    options = [
        word.replace(shared, str(folder / "gateway"))
        for word in torchserve["args"][1:]
        if not word.startswith("--model-store=")
    ]
    settings = {
        name.removeprefix(PREFIX).lower(): value.replace(shared, str(folder / "gateway"))
        for name, value in environment(web).items()
    }
    serve = ServeProcess(folder / "serve", folder / "models", *options, "--free-ports")
    try:
        serve.wait_until_ready()
        with GatewayProcess(folder / "web", serve.url("predictions"), **settings) as gateway:
            gateway.wait_until_ready()
            answer = gateway.classify(cat_photo)
    finally:
        serve.kill()
    assert answer.json()["predictions"][0]["breed"] == "Siamese"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_more_pod_comes_before_one_goes(overlay: str) -> None:
    deployment = only(manifests(overlay), "Deployment")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert deployment["minReadySeconds"] > 0
    # They are the autoscaler's.
    assert "replicas" not in deployment


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_ends_in_order_and_in_time(overlay: str) -> None:
    pod = _pod(overlay)
    # Kubernetes ends sidecars after the other containers: the gateway finishes what it has begun.
    sidecars = [each["name"] for each in pod["initContainers"] if "restartPolicy" in each]
    assert sidecars == ["torchserve"]
    assert [each["name"] for each in pod["containers"]] == ["web"]
    # In this order they start: kustomize puts what a patch names before the others.
    assert [each["name"] for each in pod["initContainers"]] == ["archives", "torchserve"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert sleep >= 5
    needed = sleep + command._STOP_S + torchserve._STOP_TIMEOUT_S + torchserve._SWEEP_TIMEOUT_S
    assert pod["terminationGracePeriodSeconds"] > needed


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_worker_has_time_to_load(overlay: str) -> None:
    deployment = only(manifests(overlay), "Deployment")["spec"]
    probe = all_containers(_pod(overlay))["torchserve"]["startupProbe"]
    patience_s = probe["periodSeconds"] * probe["failureThreshold"]
    worker_s = yaml.safe_load(MODEL_CONFIGS[overlay].read_text())["startupTimeout"]
    assert worker_s < patience_s < deployment["progressDeadlineSeconds"]


@pytest.mark.parametrize("name", ["startupProbe", "livenessProbe"])
def test_torchserve_counts_as_alive_while_its_status_is_fresh(name: str, tmp_path: Path) -> None:
    torchserve = all_containers(_pod("overlays/cpu"))["torchserve"]
    words = torchserve[name]["exec"]["command"]
    (mounted,) = (e["mountPath"] for e in torchserve["volumeMounts"] if e["name"] == "gateway")
    status = tmp_path / STATUS_FILE
    assert f"{mounted}/{STATUS_FILE}" in words[-1]
    here = [word.replace(mounted, str(tmp_path)) for word in words]

    def is_alive() -> bool:
        return subprocess.run(here, capture_output=True, check=False).returncode == 0

    assert not is_alive()
    status.write_text("{}")
    assert is_alive()
    long_ago = status.stat().st_mtime - 300
    os.utime(status, (long_ago, long_ago))
    assert not is_alive()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateway_is_probed_where_it_answers(overlay: str) -> None:
    web = all_containers(_pod(overlay))["web"]
    probes = {name: web[name]["httpGet"] for name in ("readinessProbe", "livenessProbe")}
    assert {name: each["path"] for name, each in probes.items()} == {
        # One that waits for a TorchServe must not be restarted for it.
        "readinessProbe": "/readyz",
        "livenessProbe": "/healthz",
    }
    assert {each["port"] for each in probes.values()} == {each["name"] for each in web["ports"]}


def test_the_ingress_leads_to_all_that_is_public() -> None:
    (rule,) = only(manifests("ingress"), "Ingress")["spec"]["rules"]
    exact = {each["path"] for each in rule["http"]["paths"] if each["pathType"] == "Exact"}
    below = {each["path"] for each in rule["http"]["paths"] if each["pathType"] == "Prefix"}

    def is_led(path: str) -> bool:
        return path in exact or any(f"{path}/".startswith(f"{each}/") for each in below)

    app = create_app(Settings())
    # Of these two the description of the API, being none of it, says nothing.
    pages = {"/", "/docs"}
    files = {each.path for each in app.routes if isinstance(each, Route | Mount)}
    paths = {*app.openapi()["paths"], *files, *pages}
    assert {path for path in paths if not is_led(path)} == {"/healthz", "/readyz", "/metrics"}


# --- The page about it --------------------------------------------------------------------------


def test_the_site_of_the_page_is_the_overlay_with_its_own_names(tmp_path: Path) -> None:
    (site,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    shutil.copytree(FOLDER, tmp_path / "docker" / "kubernetes")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "kustomization.yaml").write_text(site)
    made = kustomized(tmp_path / "site")
    containers = all_containers(pod_of(only(made, "Deployment")))
    registry = "registry.example.org/catbreeds"
    images = {name: each["image"].partition(":")[0] for name, each in containers.items()}
    assert images == {
        "archives": f"{registry}/torchserve",
        "torchserve": f"{registry}/torchserve",
        "web": f"{registry}/web",
    }
    assert environment(containers["archives"]) == {"MODEL_ARCHIVES": ARCHIVE}
    ingress = only(made, "Ingress")["spec"]
    assert ingress["tls"][0]["hosts"] == [ingress["rules"][0]["host"]] == ["cats.example.com"]


def test_the_page_names_what_is_there() -> None:
    lines = re.findall(r"^kubectl .*$", PAGE, re.MULTILINE)
    assert len(lines) > 10
    folders = re.findall(r"(?:apply -k|kubectl kustomize) (\S+)", PAGE)
    assert {each for each in folders if each != "site"} == {
        f"docker/kubernetes/{each}" for each in ("overlays/gpu", "upload", "kserve")
    }
    for name in re.findall(r"`(CATBREEDS_WEB_[A-Z_]+)`", PAGE):
        assert name.removeprefix(PREFIX).lower() in Settings.model_fields
