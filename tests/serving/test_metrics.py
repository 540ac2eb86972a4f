"""The handler's Prometheus metrics count what happened, at the metrics address."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.answers import JSON, ask, b64
from tests.canaries import NEW, served_beside
from tests.service import DEMO, R50, Service

_SAMPLE = re.compile(r"(?P<name>\w+)\{(?P<labels>[^}]*)\} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')

HISTOGRAMS = (
    "catbreeds_decode_seconds",
    "catbreeds_inference_seconds",
    "catbreeds_top1_probability",
)
_REST_S = 1.0
COUNTERS = ("catbreeds_problems_total", "catbreeds_unsure_total", "catbreeds_predicted_total")

Sample = tuple[str, tuple[str, ...]]
Samples = dict[Sample, float]


def of_model(service: Service, model: str, version: str) -> Samples:
    """{(name, labels that are not the same for all): value} of the handler's metrics."""
    samples: Samples = {}
    for match in _SAMPLE.finditer(service.metrics()):
        labels = dict(_LABEL.findall(match["labels"]))
        if match["name"].startswith("catbreeds_") and labels.pop("ModelName") == model:
            if labels.pop("ModelVersion") != version:
                continue
            assert labels.pop("Level") == "Model"
            assert labels.pop("Hostname")
            samples[match["name"], tuple(labels.values())] = float(match["value"])
    return samples


def settled(service: Service, model: str, version: str) -> Samples:
    """The samples once they rest: TorchServe reads them from the worker's output, a bit later."""
    before, since = of_model(service, model, version), time.monotonic()
    # Long enough for a reader that gets no core for a while, as where workers start beside it.
    while time.monotonic() - since < _REST_S:
        time.sleep(_REST_S / 5)
        if (now := of_model(service, model, version)) != before:
            before, since = now, time.monotonic()
    return before


def increments(
    service: Service, model: str, act: Callable[[], object], version: str = "0.1"
) -> Samples:
    """By how much samples rose, without histograms' sums and buckets."""
    before = settled(service, model, version)
    act()
    after = settled(service, model, version)
    return {
        sample: value - before.get(sample, 0)
        for sample, value in after.items()
        if value != before.get(sample, 0) and not sample[0].endswith(("_sum", "_bucket"))
    }


def test_good_and_bad_requests_are_counted(service: Service, cat_photo: bytes) -> None:
    def act() -> None:
        for _ in range(3):
            ask(service, DEMO, cat_photo)
        for _ in range(2):
            service.post(f"/predictions/{DEMO}", b"no photo")
        service.post(f"/predictions/{DEMO}", cat_photo[:100])
        service.post(f"/predictions/{DEMO}", json.dumps({"image": "", "top_k": 0}), JSON)
        service.post(f"/predictions/{DEMO}", bytes(17 * 1024 * 1024))

    assert increments(service, DEMO, act) == {
        ("catbreeds_decode_seconds_count", ()): 3,
        ("catbreeds_inference_seconds_count", ()): 3,
        ("catbreeds_top1_probability_count", ()): 3,
        ("catbreeds_predicted_total", ("Siamese",)): 3,
        ("catbreeds_problems_total", ("unsupported-image",)): 2,
        ("catbreeds_problems_total", ("undecodable-image",)): 1,
        ("catbreeds_problems_total", ("invalid-option",)): 1,
        ("catbreeds_problems_total", ("too-large",)): 1,
    }


def test_photos_of_one_request_are_counted_each_and_its_inference_once(
    service: Service, cat_photo: bytes
) -> None:
    instances = [{"b64": b64(photo)} for photo in (cat_photo, cat_photo, b"no photo")]

    def act() -> None:
        service.post(f"/predictions/{DEMO}", json.dumps({"instances": instances}), JSON)

    assert increments(service, DEMO, act) == {
        ("catbreeds_decode_seconds_count", ()): 2,
        ("catbreeds_inference_seconds_count", ()): 1,
        ("catbreeds_top1_probability_count", ()): 2,
        ("catbreeds_predicted_total", ("Siamese",)): 2,
        ("catbreeds_problems_total", ("unsupported-image",)): 1,
    }


def test_unsure_answers_are_counted(service: Service, cat_photo: bytes) -> None:
    answer = ask(service, R50, cat_photo)
    assert answer["unsure"]  # random weights
    breed = answer["predictions"][0]["breed"].replace(" ", "_")
    rose = increments(service, R50, lambda: ask(service, R50, cat_photo), "1.0")
    assert rose["catbreeds_unsure_total", ()] == 1
    assert rose["catbreeds_predicted_total", (breed,)] == 1


def test_histograms_hold_what_the_answers_say(service: Service, cat_photo: bytes) -> None:
    before = settled(service, DEMO, "0.1")
    answer = ask(service, DEMO, cat_photo)
    after = settled(service, DEMO, "0.1")
    rose = {
        name: after[f"{name}_sum", ()] - before.get((f"{name}_sum", ()), 0) for name in HISTOGRAMS
    }
    assert rose["catbreeds_top1_probability"] == pytest.approx(
        answer["predictions"][0]["probability"], abs=1e-5
    )
    timing = answer["timing_ms"]
    assert rose["catbreeds_decode_seconds"] * 1000 == pytest.approx(timing["decode"], abs=0.02)
    assert rose["catbreeds_inference_seconds"] * 1000 == pytest.approx(
        timing["inference"], abs=0.02
    )


def test_versions_side_by_side_are_told_apart(
    service: Service, cat_photo: bytes, model_store: Path, tmp_path: Path
) -> None:
    with served_beside(service, model_store, tmp_path):
        before = settled(service, DEMO, "0.1")
        rose = increments(service, DEMO, lambda: ask(service, f"{DEMO}/{NEW}", cat_photo), NEW)
        assert rose == {
            ("catbreeds_decode_seconds_count", ()): 1,
            ("catbreeds_inference_seconds_count", ()): 1,
            ("catbreeds_top1_probability_count", ()): 1,
            ("catbreeds_predicted_total", ("Siamese",)): 1,
        }
        assert settled(service, DEMO, "0.1") == before


def test_types_are_declared_and_no_token_is_asked_for(service: Service) -> None:
    service.post(f"/predictions/{DEMO}", b"no photo")
    settled(service, DEMO, "0.1")
    text = requests.get(service.server.metrics_url + "/metrics", timeout=10).text
    for name in HISTOGRAMS:
        assert f"# TYPE {name} histogram" in text
    for name in COUNTERS:
        assert f"# TYPE {name} counter" in text
