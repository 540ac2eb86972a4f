"""The Pod Security Standard `restricted`, which the namespaces enforce.

https://kubernetes.io/docs/concepts/security/pod-security-standards/. What nothing here uses, such
as SELinux options and sysctls, of which the standard allows some, is refused altogether.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_OF_THE_HOST = ("hostNetwork", "hostPID", "hostIPC")
_NOT_USED = ("seLinuxOptions", "sysctls", "windowsOptions", "procMount", "appArmorProfile")


def violations(pod_spec: dict[str, Any]) -> list[str]:
    """What keeps a pod from being admitted, one line each; empty where nothing does."""
    return [*_of_the_pod(pod_spec), *_of_containers(pod_spec)]


def _of_the_pod(pod_spec: dict[str, Any]) -> Iterator[str]:
    for key in _OF_THE_HOST:
        if pod_spec.get(key):
            yield f"{key}: {pod_spec[key]}"
    for volume in pod_spec.get("volumes", ()):
        kinds = set(volume) - {"name"}
        if len(kinds) != 1 or not kinds <= _VOLUMES:
            yield f"volume {volume['name']}: {', '.join(sorted(kinds))}"
    context = pod_spec.get("securityContext", {})
    for key in _NOT_USED:
        if key in context:
            yield f"{key}: {context[key]}"
    if context.get("runAsUser") == 0:
        yield "runAsUser: 0"


def _of_containers(pod_spec: dict[str, Any]) -> Iterator[str]:
    of_pod = pod_spec.get("securityContext", {})
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod_spec.get(kind, ()):
            context = container.get("securityContext", {})
            for problem in (*_of_context(of_pod | context), *_of_capabilities(context)):
                yield f"{container['name']}: {problem}"
            for port in container.get("ports", ()):
                if port.get("hostPort"):
                    yield f"{container['name']}: hostPort {port['hostPort']}"
            for probe in _handlers(container):
                if any("host" in action for action in probe.values() if isinstance(action, dict)):
                    yield f"{container['name']}: a probe or hook of another host"


def _of_context(context: dict[str, Any]) -> Iterator[str]:
    """Args:
    context: the container's, over the pod's where both may say it.
    """
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if context.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if context.get("runAsUser") == 0:
        yield "runAsUser: 0"
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile is not RuntimeDefault or Localhost"
    for key in _NOT_USED:
        if key in context:
            yield f"{key}: {context[key]}"


def _of_capabilities(context: dict[str, Any]) -> Iterator[str]:
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities.drop is not [ALL]"
    if added := set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"capabilities.add: {', '.join(sorted(added))}"


def _handlers(container: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if name in container:
            yield container[name]
    yield from container.get("lifecycle", {}).values()
