"""Rules, alerts and dashboards: they are valid, fire where they must, and ask for what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from docker.grafana.generate import files
from serving.settings import DEFAULT_CONFIG, read_properties
from tests.docker.monitoring import (
    DASHBOARDS,
    GRAFANA,
    PROMETHEUS,
    ROOT,
    RULES,
    TESTS,
    asked,
    panels,
    rules,
    run_promtool,
    targets,
)
from web.observe import Metrics
from web.service_metrics import families

# Of PromQL, as far as it is used here.
_WORDS = {"and", "or", "unless", "by", "on", "ignoring", "group_left", "offset", "bool"}
# Of Prometheus itself.
_ITS_OWN = {"up", "ALERTS"}
# Of TorchServe's classes of metrics.
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


def _alert(name: str) -> dict[str, Any]:
    (rule,) = (rule for rule in rules("alert") if rule["alert"] == name)
    return rule


def _metrics(expression: str) -> set[str]:
    """The metrics that PromQL names."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', " ", re.sub(r'"[^"]*"', "", expression))
    bare = re.sub(r"\b(by|on|ignoring|group_left)\s*\([^)]*\)", " ", bare)
    names = re.findall(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?!\w*\s*\()(?![\w:])", bare)
    return set(names) - _WORDS


# --- Prometheus -------------------------------------------------------------------------------


def test_configuration_and_rules_are_valid(promtool: str) -> None:
    told = run_promtool(promtool, "check", "config", PROMETHEUS / "prometheus.yml")
    for file in RULES:
        assert str(file) in told


def test_alerts_fire_where_they_must_and_nowhere_else(promtool: str) -> None:
    assert TESTS
    run_promtool(promtool, "test", "rules", *TESTS)


def test_each_alert_is_seen_both_firing_and_silent() -> None:
    cases: dict[str, set[bool]] = {rule["alert"]: set() for rule in rules("alert")}
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                cases[case["alertname"]].add(bool(case.get("exp_alerts")))
    assert {name for name, seen in cases.items() if seen != {True, False}} == set()


def test_each_alert_tells_what_is_wrong_and_where_to_read_on() -> None:
    headings = re.findall(r"^### (.*)$", (ROOT / "docs" / "monitoring.md").read_text(), re.M)
    alerts = rules("alert")
    assert sorted(rule["alert"] for rule in alerts) == sorted(headings)
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{rule['alert'].lower()}"


def test_what_alerts_take_from_the_configuration_is_so() -> None:
    properties = read_properties(DEFAULT_CONFIG)
    renewed_with_min = int(properties["token_expiration_min"]) / 2
    assert "< 20 * 60" in _alert("CatbreedsTokenExpires")["expr"]
    assert renewed_with_min > 20
    assert ">= 80" in _alert("CatbreedsQueueFull")["expr"]
    assert int(properties["job_queue_size"]) == 100


# --- Grafana ----------------------------------------------------------------------------------


def test_the_dashboards_are_those_that_the_code_makes() -> None:
    committed = {file.name: file.read_text() for file in DASHBOARDS}
    assert committed == files(), "run `python -m docker.grafana.generate`"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda file: file.stem)
def test_grafana_can_read_its_queries(promtool: str, dashboard: Path, tmp_path: Path) -> None:
    queries = [
        {"record": f"query{number}", "expr": asked(target)}
        for number, target in enumerate(targets(dashboard))
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": queries}]}))
    run_promtool(promtool, "check", "rules", file)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda file: file.stem)
def test_panels_have_places_and_sources_of_their_own(dashboard: Path) -> None:
    provisioned = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )
    uids = [source["uid"] for source in provisioned["datasources"]]
    members = panels(dashboard)
    assert len({panel["id"] for panel in members}) == len(members)
    taken: set[tuple[int, int]] = set()
    for panel in members:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["targets"], panel["title"]
            assert panel["datasource"]["uid"] in uids
    assert all(target["datasource"]["uid"] in uids for target in targets(dashboard))


def test_dashboards_have_names_of_their_own() -> None:
    read = [json.loads(file.read_text()) for file in DASHBOARDS]
    assert len(read) == 2
    assert len({each["uid"] for each in read}) == len({each["title"] for each in read}) == 2


# --- Both -------------------------------------------------------------------------------------


def test_what_is_asked_for_is_there() -> None:
    declared = yaml.safe_load((ROOT / "handlers" / "metrics.yaml").read_text())
    there = {rule["record"] for rule in rules("record")} | _ITS_OWN | set(families())
    for section in ("ts_metrics", "model_metrics"):
        for kind, metrics in declared[section].items():
            for metric in metrics:
                there |= {metric["name"] + suffix for suffix in _SUFFIXES.get(kind, ("",))}
    for family in Metrics().registry.collect():
        suffixes = {"counter": ("_total",), **_SUFFIXES}.get(family.type, ("",))
        there |= {family.name + suffix for suffix in suffixes}
    expressions = [rule["expr"] for kind in ("alert", "record") for rule in rules(kind)]
    expressions += [asked(target) for file in DASHBOARDS for target in targets(file)]
    named = set().union(*map(_metrics, expressions))
    assert named - there == set()
    # What finds the names is no parser.
    assert {"up", "catbreeds_web_photos_total", "version:catbreeds_unsure:ratio1d"} <= named


def test_whatever_is_recorded_is_used() -> None:
    expressions = [rule["expr"] for kind in ("alert", "record") for rule in rules(kind)]
    expressions += [asked(target) for file in DASHBOARDS for target in targets(file)]
    used = set().union(*map(_metrics, expressions))
    assert {rule["record"] for rule in rules("record")} <= used
