"""The part of KServe's two kinds that docker/kubernetes/kserve uses, strictly.

No package carries the schemas of KServe's own kinds without KServe's whole SDK, which needs other
packages than this project. The fields are those of `ServingRuntimeSpec`
(pkg/apis/serving/v1alpha1/servingruntime_types.go) and of `PredictorSpec`
(pkg/apis/serving/v1beta1/predictor.go and component.go) of KServe 0.16 to 0.21. A field that is not
named here is refused, also where KServe has it. What both have of a pod is Kubernetes' own: see
`pod_spec`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

# Where KServe mounts what `storageUri` names (DefaultModelLocalMountPath), for reading only.
MODEL_PATH = "/mnt/models"

Protocol = Literal["v1", "v2", "grpc-v1", "grpc-v2"]
Version = Annotated[str, Field(pattern=r"^\d+(\.\d+){0,2}$")]
# Kubernetes' own; see `pod_spec`.
OfAPod = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class _Metadata(_Part):
    name: str
    namespace: str
    annotations: dict[str, str] = {}


class ModelFormat(_Part):
    """What an InferenceService asks for."""

    name: str
    version: Version


class SupportedModelFormat(ModelFormat):
    """What a runtime can serve."""

    auto_select: bool


class ServingRuntimeSpec(_Part):
    """Of `serving.kserve.io/v1alpha1`."""

    supported_model_formats: Annotated[list[SupportedModelFormat], Field(min_length=1)]
    protocol_versions: list[Protocol]
    multi_model: bool
    # Of the pods.
    annotations: dict[str, str]
    containers: Annotated[list[OfAPod], Field(min_length=1)]
    volumes: list[OfAPod]


class ServingRuntime(_Part):
    """The whole resource."""

    api_version: Literal["serving.kserve.io/v1alpha1"]
    kind: Literal["ServingRuntime"]
    metadata: _Metadata
    spec: ServingRuntimeSpec


class Model(_Part):
    """What a predictor serves."""

    runtime: str
    model_format: ModelFormat
    protocol_version: Protocol
    storage_uri: Annotated[str, Field(pattern=r"^pvc://[a-z0-9-]+/.+$")]


class RollingUpdate(_Part):
    """Of `apps/v1`."""

    max_surge: int
    max_unavailable: int


class DeploymentStrategy(_Part):
    """Of `apps/v1`."""

    type: Literal["RollingUpdate"]
    rolling_update: RollingUpdate


class Predictor(_Part):
    """Scaling, model, and fields of a pod."""

    min_replicas: Annotated[int, Field(ge=1)]
    max_replicas: int
    scale_metric: Literal["cpu", "memory"]
    scale_target: Annotated[int, Field(gt=0, le=100)]
    deployment_strategy: DeploymentStrategy
    model: Model
    automount_service_account_token: bool
    enable_service_links: bool
    termination_grace_period_seconds: int
    security_context: OfAPod


class InferenceServiceSpec(_Part):
    """Of `serving.kserve.io/v1beta1`."""

    predictor: Predictor


class InferenceService(_Part):
    """The whole resource."""

    api_version: Literal["serving.kserve.io/v1beta1"]
    kind: Literal["InferenceService"]
    metadata: _Metadata
    spec: InferenceServiceSpec


def pod_spec(runtime: dict[str, Any], service: dict[str, Any]) -> dict[str, Any]:
    """The pod that KServe makes of the two, without the probes and labels of its own."""
    predictor = dict(service["spec"]["predictor"])
    uri = predictor.pop("model")["storageUri"]
    for field in ("min_replicas", "max_replicas", "scale_metric", "scale_target"):
        del predictor[to_camel(field)]
    del predictor["deploymentStrategy"]
    claim, _, folder = uri.removeprefix("pvc://").partition("/")
    container, *others = runtime["spec"]["containers"]
    model = {"name": "model", "mountPath": MODEL_PATH, "subPath": folder, "readOnly": True}
    mounts = [*container["volumeMounts"], model]
    volume = {"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    return predictor | {
        "containers": [container | {"volumeMounts": mounts}, *others],
        "volumes": [*runtime["spec"]["volumes"], volume],
    }
