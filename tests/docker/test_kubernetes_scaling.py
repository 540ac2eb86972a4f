"""What the autoscaler of docker/kubernetes goes by: from the gateway's counters to its target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.kubernetes_manifests import (
    FOLDER,
    ROOT,
    all_containers,
    manifests,
    only,
    pod_of,
)
from tests.docker.monitoring import run_promtool
from web.observe import Metrics

OVERLAYS = ("overlays/cpu", "overlays/gpu")
SCRAPE = FOLDER / "monitoring" / "scrape.yaml"
ADAPTER = FOLDER / "monitoring" / "adapter-values.yaml"


def _rule() -> dict[str, Any]:
    (rule,) = yaml.safe_load(ADAPTER.read_text())["rules"]["custom"]
    return dict(rule)


def _jobs() -> dict[str, dict[str, Any]]:
    return {each["job_name"]: each for each in yaml.safe_load(SCRAPE.read_text())}


def _kept(job: dict[str, Any], label: str) -> str:
    """What a job's `keep` wants of a label that was found in the cluster."""
    (wanted,) = (
        each["regex"]
        for each in job["relabel_configs"]
        if each.get("action") == "keep" and each["source_labels"] == [f"__meta_kubernetes_{label}"]
    )
    return str(wanted)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_autoscaler_scales_the_deployment_by_the_adapters_metric(overlay: str) -> None:
    resources = manifests(overlay)
    deployment, scaler = only(resources, "Deployment"), only(resources, "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    assert target["apiVersion"] == deployment["apiVersion"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    # With one, a node that is drained would be the end of the service for a while.
    assert 2 <= scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]
    (metric,) = scaler["spec"]["metrics"]
    assert metric["type"] == "Pods"
    assert metric["pods"]["metric"]["name"] == _rule()["name"]["as"]
    assert int(metric["pods"]["target"]["averageValue"]) > 0


def test_a_pod_has_whole_cores_for_its_workers_and_some_for_the_server() -> None:
    torchserve = all_containers(pod_of(only(manifests("overlays/cpu"), "Deployment")))["torchserve"]
    bounds = torchserve["resources"]
    assert bounds["requests"]["cpu"] == "2"
    assert bounds["limits"]["cpu"] == "2500m"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_prometheus_finds_both_containers_of_a_pod(overlay: str) -> None:
    deployment = only(manifests(overlay), "Deployment")
    containers = all_containers(pod_of(deployment))
    template = deployment["spec"]["template"]["metadata"]
    jobs = _jobs()
    for job, container in (("gateway", "web"), ("torchserve", "torchserve")):
        (port,) = containers[container]["ports"]
        assert _kept(jobs[job], "pod_container_port_name") == port["name"]
        name = _kept(jobs[job], "pod_label_app_kubernetes_io_name")
        assert name == template["labels"]["app.kubernetes.io/name"]
        namespaces = {"names": [deployment["metadata"]["namespace"]]}
        found = jobs[job]["kubernetes_sd_configs"]
        assert found == [{"role": "pod", "namespaces": namespaces}]


def test_the_jobs_are_those_of_the_stack() -> None:
    """So that its rules and dashboards hold here as well."""
    stack = yaml.safe_load((ROOT / "docker" / "prometheus" / "prometheus.yml").read_text())
    of_stack = {each["job_name"]: each for each in stack["scrape_configs"]}
    for name, job in _jobs().items():
        changed = of_stack[name].get("metric_relabel_configs")
        assert job.get("metric_relabel_configs") == changed, name


def test_the_metric_counts_what_the_gateway_counts() -> None:
    rule = _rule()
    counted = {f"{each.name}_total" for each in Metrics().registry.collect()}
    assert rule["seriesQuery"].partition("{")[0] in counted
    assert rule["resources"]["overrides"] == {
        "namespace": {"resource": "namespace"},
        "pod": {"resource": "pod"},
    }
    for name in ("catbreeds_web_photos_total", "catbreeds_web_photos_refused_total"):
        assert name in counted


def test_prometheus_reads_the_jobs(promtool: str, tmp_path: Path) -> None:
    jobs = list(_jobs().values())
    for job in jobs:
        # Debian's is built without it; the test above looks at it.
        del job["kubernetes_sd_configs"]
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": jobs}))
    run_promtool(promtool, "check", "config", config)


def test_the_metric_is_photos_a_second_of_each_pod_refused_ones_too(
    promtool: str, tmp_path: Path
) -> None:
    query = _rule()["metricsQuery"]
    matchers = 'namespace="catbreeds",pod=~"full|idle|new"'
    query = query.replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", "pod")
    assert "<<" not in query
    rules = {"groups": [{"name": "adapter", "rules": [{"record": "photos", "expr": query}]}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))

    def series(metric: str, pod: str, values: str, labels: str = "") -> dict[str, str]:
        named = f'catbreeds_web_photos_{metric}{{namespace="catbreeds",pod="{pod}"{labels}}}'
        return {"series": named, "values": values}

    # Each 15 s; the canary's photos are another series. A new pod has answered none yet.
    version = ',model="cat-breeds",version="{}"'
    test = {
        "interval": "15s",
        "input_series": [
            series("total", "full", "0+300x20", version.format("0.1")),
            series("total", "full", "0+30x20", version.format("0.2")),
            series("refused_total", "full", "0+150x20"),
            series("total", "idle", "7+0x20", version.format("0.1")),
            series("refused_total", "idle", "0+0x20"),
            series("refused_total", "new", "0+0x20"),
        ],
        "promql_expr_test": [
            {
                "expr": "photos",
                "eval_time": "4m",
                "exp_samples": [
                    {"labels": 'photos{pod="full"}', "value": 32},
                    {"labels": 'photos{pod="idle"}', "value": 0},
                    {"labels": 'photos{pod="new"}', "value": 0},
                ],
            }
        ],
    }
    suite = {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": [test]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(suite))
    run_promtool(promtool, "test", "rules", tmp_path / "test.yml")
