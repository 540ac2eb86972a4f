"""docker/kubernetes/kserve: a runtime and a service that KServe takes, and the gateway behind."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest
from pydantic import ValidationError

from serving import torchserve
from tests.docker.kubernetes_kserve import MODEL_PATH, InferenceService, ServingRuntime, pod_spec
from tests.docker.kubernetes_manifests import (
    Resource,
    arguments,
    catbreeds_command,
    environment,
    manifests,
    only,
)
from tests.docker.kubernetes_pod_security import violations
from tests.service import DEMO
from web import command
from web.app import create_app
from web.settings import Settings

VERSIONS = ("1.33", kubernetes_validate.latest_version())


@pytest.fixture
def runtime() -> Resource:
    return only(manifests("kserve"), "ServingRuntime")


@pytest.fixture
def service() -> Resource:
    return only(manifests("kserve"), "InferenceService")


def test_kserve_takes_both(runtime: Resource, service: Resource) -> None:
    ServingRuntime.model_validate(runtime)
    InferenceService.model_validate(service)
    # Else KServe would take the fields about scaling for Knative's.
    assert service["metadata"]["annotations"] == {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "hpa",
    }


def test_a_misspelt_field_is_found(service: Resource) -> None:
    service["spec"]["predictor"]["minReplica"] = 1
    with pytest.raises(ValidationError, match="minReplica"):
        InferenceService.model_validate(service)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_and_admits_the_pod(
    runtime: Resource, service: Resource, version: str
) -> None:
    spec = pod_spec(runtime, service)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cat-breeds"}, "spec": spec}
    kubernetes_validate.validate(pod, version, strict=True)
    assert violations(spec) == []
    (container,) = spec["containers"]
    assert container["name"] == "kserve-container"
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    assert "/tmp" in mounts  # noqa: S108
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["enableServiceLinks"] is spec["automountServiceAccountToken"] is False
    claim = only(manifests("kserve"), "PersistentVolumeClaim")["metadata"]["name"]
    claims = [each["persistentVolumeClaim"]["claimName"] for each in spec["volumes"][-1:]]
    assert claims == [claim]


def test_the_service_is_one_of_the_runtimes(runtime: Resource, service: Resource) -> None:
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    formats = [
        {key: each[key] for key in ("name", "version")}
        for each in runtime["spec"]["supportedModelFormats"]
    ]
    assert model["modelFormat"] in formats
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]


def test_the_paths_of_kserve_lead_to_the_model(runtime: Resource, service: Resource) -> None:
    # A client puts the service's name into them, and the gateway looks for the model's there.
    assert service["metadata"]["name"] == DEMO
    paths = create_app(Settings()).openapi()["paths"]
    needed = {"v1": "/v1/models/{model}:predict", "v2": "/v2/models/{model}/infer"}
    assert {needed[each] for each in runtime["spec"]["protocolVersions"]} <= paths.keys()


def test_the_container_serves_what_kserve_mounts(
    runtime: Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container,) = runtime["spec"]["containers"]
    assert catbreeds_command(container) == "serve"
    serve = arguments(container)
    assert serve["model_store"] == Path(MODEL_PATH)
    (port,) = container["ports"]
    assert serve["web_port"] == port["containerPort"]
    # `--port` and the four behind it are TorchServe's.
    assert serve["web_port"] not in range(serve["port"], serve["port"] + 5)
    probes = [container[f"{each}Probe"]["httpGet"] for each in ("startup", "readiness", "liveness")]
    assert {each["port"] for each in probes} == {port["containerPort"]}
    assert [each["path"] for each in probes] == ["/healthz", "/readyz", "/healthz"]
    assert runtime["spec"]["annotations"] == {
        "prometheus.kserve.io/port": str(port["containerPort"]),
        "prometheus.kserve.io/path": "/metrics",
    }
    for name, value in environment(container).items():
        monkeypatch.setenv(name, value)
    assert Settings(host=str(serve["web_host"])).plain_http


def test_one_more_pod_comes_before_one_goes(service: Resource) -> None:
    strategy = service["spec"]["predictor"]["deploymentStrategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_pod_ends_in_time(runtime: Resource, service: Resource) -> None:
    sleep = runtime["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = sleep + command._STOP_S + torchserve._STOP_TIMEOUT_S + torchserve._SWEEP_TIMEOUT_S
    assert service["spec"]["predictor"]["terminationGracePeriodSeconds"] > needed
