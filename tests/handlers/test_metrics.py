from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ts.metrics
import yaml
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from handlers import metrics
from handlers.metrics import COUNTERS, HISTOGRAMS, Metrics
from handlers.problems import TooLarge

DECLARED = Path(metrics.__file__).with_name("metrics.yaml")
TORCHSERVE = Path(ts.metrics.__file__).parents[1] / "configs" / "metrics.yaml"
# TorchServe's own, in org.pytorch.serve.metrics.Metric of its Java side.
LINE = re.compile(
    r"\[METRICS\]([\w\s]+)\.([\w\s]+):([0-9\-,.e]+)\|#([^|]*)\|#type:(\w+)\|#hostname:[^,]+,\d+"
)


def metrics_of(path: Path) -> dict[tuple[str, str, str], Any]:
    """{(section, type, name): (unit, dimensions)}."""
    read = yaml.safe_load(path.read_text())
    return {
        (section, kind, entry["name"]): (entry["unit"], entry["dimensions"])
        for section in ("ts_metrics", "model_metrics")
        for kind, entries in read[section].items()
        for entry in entries
    }


Load = Callable[[Path], MetricsCacheYamlImpl]


@pytest.fixture
def cache(metrics_cache: Load) -> MetricsCacheYamlImpl:
    return metrics_cache(DECLARED)


def test_torchserve_s_own_metrics_are_all_kept() -> None:
    ours, theirs = metrics_of(DECLARED), metrics_of(TORCHSERVE)
    assert {key: ours[key] for key in theirs} == theirs


def test_declaration_and_code_agree() -> None:
    added = metrics_of(DECLARED).keys() - metrics_of(TORCHSERVE).keys()
    expected = {("model_metrics", "histogram", name) for name in HISTOGRAMS}
    assert added == expected | {("model_metrics", "counter", name) for name in COUNTERS}


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str, str]]:
    found = []
    for record in caplog.records:
        match = LINE.fullmatch(record.getMessage())
        assert match, record.getMessage()
        name, _, value, dimensions, kind = match.groups()
        found.append((kind, name, value, dimensions))
    return found


def test_every_update_is_a_line_that_torchserve_can_read(
    cache: MetricsCacheYamlImpl, caplog: pytest.LogCaptureFixture
) -> None:
    collected = Metrics(cache, "tiny", "1.0")
    with caplog.at_level(logging.INFO):
        collected.decoded(0.0125)
        collected.decoded(0.00000004)
        collected.inferred(1234.5)
        for _ in range(3):
            collected.predicted("Oriental | Short:hair, [white] #1", 0.75, unsure=True)
        collected.predicted("Bengal", 1.0, unsure=False)
        collected.refused(TooLarge("x"))
        collected.refused(TooLarge("x"))
        assert not caplog.records
        collected.flush()
    common = "ModelName:tiny,ModelVersion:1.0,Level:Model"
    assert lines(caplog) == [
        ("HISTOGRAM", "catbreeds_decode_seconds", "0.0125", common),
        ("HISTOGRAM", "catbreeds_decode_seconds", "0.0", common),
        ("HISTOGRAM", "catbreeds_inference_seconds", "1234.5", common),
        ("HISTOGRAM", "catbreeds_top1_probability", "0.75", common),
        ("HISTOGRAM", "catbreeds_top1_probability", "0.75", common),
        ("HISTOGRAM", "catbreeds_top1_probability", "0.75", common),
        ("HISTOGRAM", "catbreeds_top1_probability", "1.0", common),
        (
            "COUNTER",
            "catbreeds_predicted_total",
            "3",
            f"{common},breed:Oriental_Short_hair_white_1",
        ),
        ("COUNTER", "catbreeds_unsure_total", "3", common),
        ("COUNTER", "catbreeds_predicted_total", "1", f"{common},breed:Bengal"),
        ("COUNTER", "catbreeds_problems_total", "2", f"{common},problem:too-large"),
    ]


def test_nothing_is_written_twice(
    cache: MetricsCacheYamlImpl, caplog: pytest.LogCaptureFixture
) -> None:
    collected = Metrics(cache, "tiny", "1.0")
    collected.decoded(0.5)
    collected.flush()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        collected.flush()
    assert not caplog.records


@pytest.mark.parametrize("declared", [None, TORCHSERVE])
def test_a_server_that_declares_no_metrics_is_left_alone(
    declared: Path | None, metrics_cache: Load, caplog: pytest.LogCaptureFixture
) -> None:
    other = metrics_cache(declared) if declared else None
    caplog.clear()
    collected = Metrics(other, "tiny", "1.0")
    with caplog.at_level(logging.INFO):
        collected.decoded(0.5)
        collected.predicted("Bengal", 1.0, unsure=True)
        collected.refused(TooLarge("x"))
        collected.flush()
    assert not caplog.records
