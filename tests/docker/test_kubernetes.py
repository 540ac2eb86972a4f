"""docker/kubernetes: what kustomize makes of it is valid, and fits together and the code.

No cluster is here: that pods start, and that traffic flows or is stopped, is not tested.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.docker.kubernetes_manifests import (
    MODEL_CONFIGS,
    ROOT,
    Resource,
    admits,
    all_containers,
    arguments,
    catbreeds_command,
    environment,
    manifests,
    only,
    pod_of,
    selects,
)
from tests.docker.kubernetes_pod_security import violations
from web.settings import PREFIX, Settings

OVERLAYS = ("overlays/cpu", "overlays/gpu")
FOLDERS = (*OVERLAYS, "ingress", "upload", "kserve")
# The oldest that the manifests are written for, and the newest whose schemas are at hand.
VERSIONS = ("1.33", kubernetes_validate.latest_version())
PODS = [("overlays/cpu", "Deployment"), ("overlays/gpu", "Deployment"), ("upload", "Pod")]
NAMESPACE = "kubernetes.io/metadata.name"
TOKENS = {"gateway", "state"}


def _serving_pod(overlay: str) -> Resource:
    return pod_of(only(manifests(overlay), "Deployment"))


# --- Everything ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_resource_is_one_that_kubernetes_takes(folder: str, version: str) -> None:
    for resource in manifests(folder):
        if not resource["apiVersion"].startswith("serving.kserve.io/"):
            kubernetes_validate.validate(resource, version, strict=True)


def test_a_misspelt_field_is_found() -> None:
    deployment = only(manifests("overlays/cpu"), "Deployment")
    pod_of(deployment)["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_everything_is_in_a_namespace_of_its_own(folder: str) -> None:
    expected = "catbreeds-kserve" if folder == "kserve" else "catbreeds"
    for resource in manifests(folder):
        named = "name" if resource["kind"] == "Namespace" else "namespace"
        assert resource["metadata"][named] == expected, resource["kind"]


def test_all_images_are_of_this_release() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {
        (folder, image)
        for folder in FOLDERS
        for image in re.findall(r"'image': '([^']+)'", repr(manifests(folder)))
    }
    serving = ("overlays/cpu", "upload", "kserve")
    assert images == {
        *((folder, f"catbreeds/torchserve:{version}") for folder in serving),
        ("overlays/gpu", f"catbreeds/torchserve:{version}-cuda"),
        *((overlay, f"catbreeds/web:{version}") for overlay in OVERLAYS),
    }


# --- Pods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["overlays/cpu", "overlays/gpu", "kserve"])
def test_the_namespace_admits_restricted_pods_only(folder: str) -> None:
    labels = only(manifests(folder), "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(("folder", "kind"), PODS)
def test_a_restricted_namespace_admits_the_pod(folder: str, kind: str) -> None:
    assert violations(pod_of(only(manifests(folder), kind))) == []


@pytest.mark.parametrize(
    ("where", "change", "said"),
    [
        (None, {"hostNetwork": True}, "hostNetwork"),
        (
            None,
            {"volumes": [{"name": "etc", "hostPath": {"path": "/etc"}}]},
            "volume etc: hostPath",
        ),
        (None, {"securityContext": {}}, "runAsNonRoot"),
        (None, {"securityContext": {"runAsNonRoot": True}}, "seccompProfile"),
        ("web", {"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation"),
        ("web", {"privileged": True}, "privileged"),
        ("torchserve", {"runAsUser": 0}, "runAsUser"),
        ("torchserve", {"capabilities": {"drop": ["NET_RAW"]}}, "capabilities.drop"),
        ("archives", {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}, "SYS_ADMIN"),
    ],
)
def test_it_would_not_admit_a_pod_with_more(
    where: str | None, change: dict[str, Any], said: str
) -> None:
    pod = _serving_pod("overlays/cpu")
    (pod if where is None else all_containers(pod)[where]["securityContext"]).update(change)
    assert any(said in each for each in violations(pod))


@pytest.mark.parametrize(("folder", "kind"), PODS)
def test_a_pod_writes_to_its_volumes_only(folder: str, kind: str) -> None:
    pod = pod_of(only(manifests(folder), kind))
    mounted = set()
    for container in all_containers(pod).values():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        places = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        assert "/tmp" in places  # noqa: S108 - what everything writes to
        mounted |= set(places.values())
    assert mounted == {each["name"] for each in pod["volumes"]}
    claim = only(manifests("overlays/cpu"), "PersistentVolumeClaim")["metadata"]["name"]
    for volume in pod["volumes"]:
        if "emptyDir" in volume:
            assert volume["emptyDir"]["sizeLimit"]
        else:
            assert volume["persistentVolumeClaim"]["claimName"] == claim


@pytest.mark.parametrize(("folder", "kind"), PODS)
def test_a_pod_is_told_nothing_of_the_cluster(folder: str, kind: str) -> None:
    pod = pod_of(only(manifests(folder), kind))
    assert pod["automountServiceAccountToken"] is False
    # Of a Service called catbreeds-web a gateway would be told CATBREEDS_WEB_PORT=tcp://...
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_has_bounds(overlay: str) -> None:
    for name, container in all_containers(_serving_pod(overlay)).items():
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][bound]), name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_tokens_stay_in_memory_and_the_gateway_gets_its_own_only(overlay: str) -> None:
    pod = _serving_pod(overlay)
    media = {each["name"]: each.get("emptyDir", {}).get("medium") for each in pod["volumes"]}
    assert {media[name] for name in TOKENS} == {"Memory"}
    containers = all_containers(pod)
    web, torchserve = containers["web"], containers["torchserve"]
    of_web = {each["name"]: each for each in web["volumeMounts"]}
    of_torchserve = {each["name"]: each["mountPath"] for each in torchserve["volumeMounts"]}
    assert of_web.keys() & TOKENS == {"gateway"}
    assert of_web["gateway"]["readOnly"] is True
    shared = arguments(torchserve)["gateway_folder"]
    assert str(shared) == of_torchserve["gateway"] == of_web["gateway"]["mountPath"]
    assert str(shared) == environment(web)[f"{PREFIX}SERVER_FOLDER"]
    assert of_torchserve["state"] == environment(torchserve)["CATBREEDS_STATE"]
    # Two users, who share a group.
    users = {name: each["securityContext"]["runAsUser"] for name, each in containers.items()}
    assert users == {"archives": 10001, "torchserve": 10001, "web": 10002}
    assert pod["securityContext"]["runAsGroup"] == pod["securityContext"]["fsGroup"] == 10001


def test_the_images_bring_what_the_containers_leave_out() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    starts = re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)
    assert starts == ['["tini", "--", "catbreeds"]'] * 2
    users = set(re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE))
    assert users == {"10001:10001", "10002:10001"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_commands_are_those_of_the_command_line(overlay: str) -> None:
    containers = all_containers(_serving_pod(overlay))
    assert catbreeds_command(containers["torchserve"]) == "serve"
    serve = arguments(containers["torchserve"])
    mounts = {each["name"]: each["mountPath"] for each in containers["torchserve"]["volumeMounts"]}
    assert str(serve["model_store"]) == mounts["models"]
    assert serve["no_web"] is True
    # The inference API stays on the pod's loopback; Prometheus reaches the metrics.
    assert serve["inference_host"] == "127.0.0.1"
    assert serve["metrics_host"] == "0.0.0.0"  # noqa: S104
    assert catbreeds_command(containers["web"]) == "web"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateway_takes_its_settings(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    web = all_containers(_serving_pod(overlay))["web"]
    for name, value in environment(web).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    (port,) = web["ports"]
    assert (settings.host, settings.port) == ("0.0.0.0", port["containerPort"])  # noqa: S104
    assert settings.plain_http
    # While one batch is worked on, another one gets full.
    batch = yaml.safe_load(MODEL_CONFIGS[overlay].read_text())["batchSize"]
    assert settings.torchserve_photos >= 2 * batch
    assert settings.photos_at_once > settings.torchserve_photos


# --- The network --------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_select_the_serving_pods_only(overlay: str) -> None:
    resources = manifests(overlay)
    deployment = only(resources, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    selectors = [
        deployment["selector"],
        {"matchLabels": only(resources, "Service")["spec"]["selector"]},
        only(resources, "PodDisruptionBudget")["spec"]["selector"],
        only(resources, "NetworkPolicy", "catbreeds")["spec"]["podSelector"],
        *(each["labelSelector"] for each in spread),
    ]
    upload = only(manifests("upload"), "Pod")["metadata"]["labels"]
    assert all(selects(each, labels) for each in selectors)
    assert not any(selects(each, upload) for each in selectors)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ingress_service_and_gateway_agree_on_the_port(overlay: str) -> None:
    service = only(manifests(overlay), "Service")
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] in {
        each["name"] for each in all_containers(_serving_pod(overlay))["web"]["ports"]
    }
    (rule,) = only(manifests("ingress"), "Ingress")["spec"]["rules"]
    backends = [path["backend"]["service"] for path in rule["http"]["paths"]]
    wanted = {"name": service["metadata"]["name"], "port": {"name": port["name"]}}
    assert all(backend == wanted for backend in backends)


def test_nobody_reaches_a_pod_but_ingress_and_prometheus() -> None:
    resources = manifests("overlays/cpu")
    policies = [each for each in resources if each["kind"] == "NetworkPolicy"]
    serving = only(resources, "Deployment")["spec"]["template"]["metadata"]["labels"]
    upload = only(manifests("upload"), "Pod")["metadata"]["labels"]
    ports = (8000, 7070, 7071, 8080, 8081, 8082)
    namespaces = ("ingress", "monitoring", "catbreeds", "default", "kube-system")
    reached = {
        (namespace, port)
        for namespace in namespaces
        for port in ports
        if admits(policies, serving, {NAMESPACE: namespace}, port)
    }
    assert reached == {("ingress", 8000), ("monitoring", 8000), ("monitoring", 8082)}
    assert not any(
        admits(policies, upload, {NAMESPACE: namespace}, port)
        for namespace in namespaces
        for port in ports
    )


def test_no_pod_reaches_anybody() -> None:
    policies = [
        each["spec"] for each in manifests("overlays/cpu") if each["kind"] == "NetworkPolicy"
    ]
    about_all = [each for each in policies if each["podSelector"] == {}]
    assert any("Egress" in each["policyTypes"] for each in about_all)
    assert not any("egress" in each for each in policies)
