"""What is watched, as the files in docker/ say it, and the program that looks at them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "docker" / "prometheus"
GRAFANA = ROOT / "docker" / "grafana"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))


def run_promtool(promtool: str, *words: str | Path) -> str:
    """What it prints; it must be content."""
    done = subprocess.run([promtool, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules that have the key `kind`: `alert` or `record`."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def panels(dashboard: Path) -> list[dict[str, Any]]:
    """With the rows that they are in."""
    found: list[dict[str, Any]] = json.loads(dashboard.read_text())["panels"]
    return found


def targets(dashboard: Path) -> Iterator[dict[str, Any]]:
    """The queries of all panels."""
    for panel in panels(dashboard):
        yield from panel.get("targets", [])


def asked(target: dict[str, Any]) -> str:
    """The PromQL that Grafana makes of a query, for the demo."""
    expression: str = target["expr"]
    return expression.replace("$__rate_interval", "5m").replace("$model", "cat-breeds")
