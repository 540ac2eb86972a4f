"""No panel is empty: what dashboards ask for is what a real service tells, by name and label.

Two looks at its metrics become samples for promtool, which works out what is asked for.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from handlers.expected import BOUNDS
from tests.archives import one_worker, pack, unpack
from tests.docker.monitoring import DASHBOARDS, PROMETHEUS, RULES, asked, run_promtool, targets
from tests.serving.rollout.versions import edit_json
from tests.serving.serve_process import ServeProcess
from training.archive import archive

_PATIENCE_S = 60
# As if each photo had come so often: drift is looked at from 1,000 on.
_OFTEN = 2000
# Where all is well they are empty.
_EMPTY = {"{{alertname}}", "{{model}} passed over"}

# Series, as PromQL spells it -> value, and whether it only rises.
Samples = dict[str, tuple[float, bool]]


@pytest.fixture(scope="module")
def served(demo_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """`catbreeds serve` with its gateway, and the demo with a card that tells what to expect."""
    folder = tmp_path_factory.mktemp("watched")
    made = archive(demo_run, "0.1", folder, one_worker(folder))
    content = unpack(made, folder / "content")
    names = json.loads((content / "index_to_name.json").read_text()).values()
    section = {
        "photos": 8,
        "part": "test",
        "predicted": dict.fromkeys(names, 0.0) | {"Siamese": 1.0},
        "top1_probability": {bound: number / 9 for number, bound in enumerate(BOUNDS)},
        "unsure": 0.375,
    }
    edit_json(content / "model-card.json", expected=section)
    store = folder / "store"
    store.mkdir()
    pack(content, store / made.name, seal=True)
    server = ServeProcess(folder / "served", store, "--free-ports")
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.kill()


def target_of(job: dict[str, Any]) -> str:
    """The one address that a job scrapes, named in it or in a file beside it."""
    found = job.get("static_configs") or [
        each
        for config in job["file_sd_configs"]
        for name in config["files"]
        for each in yaml.safe_load((PROMETHEUS / name).read_text())
    ]
    ((target,),) = (each["targets"] for each in found)
    return str(target)


def scraped(server: ServeProcess) -> Samples:
    """What Prometheus would keep of one look at both parts."""
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    samples: Samples = {}
    for job in jobs:
        if job["job_name"] == "prometheus":
            continue
        url = server.url("metrics" if job["job_name"] == "torchserve" else "page")
        text = requests.get(f"{url}/metrics", timeout=10).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = relabelled(sample.labels, job.get("metric_relabel_configs", []))
                labels |= {
                    "job": job["job_name"],
                    "instance": target_of(job),
                }
                spelled = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
                rises = family.type in ("counter", "histogram")
                # The parser gives every counter that ending.
                name = sample.name if sample.name in text else sample.name.removesuffix("_total")
                samples[f"{name}{{{spelled}}}"] = sample.value, rises
    return samples


def relabelled(labels: dict[str, str], configs: list[dict[str, object]]) -> dict[str, str]:
    """By those of Prometheus's actions that are used here."""
    for config in configs:
        pattern = str(config["regex"])
        if config.get("action") == "labeldrop":
            labels = {k: v for k, v in labels.items() if not re.fullmatch(pattern, k)}
        else:
            assert config.keys() == {"source_labels", "regex", "target_label"}
            assert isinstance(config["source_labels"], list)
            (source,) = config["source_labels"]
            if found := re.fullmatch(pattern, labels.get(source, "")):
                labels = labels | {str(config["target_label"]): found[1]}
    return labels


def counted(samples: Samples) -> dict[str, float]:
    """How often each thing has happened that `ask` makes happen, and that is told a bit later."""
    late = ("catbreeds_predicted_total", "catbreeds_problems_total")
    return {name: value for name, (value, _) in samples.items() if name.startswith(late)}


def ask(server: ServeProcess, photo: bytes) -> Samples:
    """A photo and something else, and what is told then."""
    before = counted(scraped(server))
    for body in (photo, b"no photo"):
        requests.post(f"{server.url('page')}/api/classify", body, timeout=60)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        samples = scraped(server)
        now = counted(samples)
        told = any(name.startswith("catbreeds_workers{") for name in samples)
        rose = all(value > before.get(name, 0) for name, value in now.items())
        if told and rose and len(now) == 2:
            return samples
        assert time.monotonic() < deadline, now
        time.sleep(0.1)


def test_every_panel_shows_something(
    promtool: str, served: ServeProcess, cat_photo: bytes, tmp_path: Path
) -> None:
    first, second = ask(served, cat_photo), ask(served, cat_photo)
    series = []
    for name, (value, rises) in second.items():
        before, _ = first.get(name, (value, rises))
        grown = before + _OFTEN * (value - before) if rises else value
        series.append({"series": name, "values": f"{before} {grown}"})
    queries = [
        {
            # A value that is a number; what is none is not even equal to itself.
            "expr": f"count(({asked(target)}) == ({asked(target)})) > bool 0",
            "eval_time": "1m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for dashboard in DASHBOARDS
        for target in targets(dashboard)
        if target["legendFormat"] not in _EMPTY
    ]
    assert len(queries) > 40
    test = {
        "rule_files": [str(file) for file in RULES],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": queries}],
    }
    (tmp_path / "panels.yml").write_text(yaml.safe_dump(test))
    run_promtool(promtool, "test", "rules", tmp_path / "panels.yml")
