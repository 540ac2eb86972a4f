"""What is read of TorchServe's metrics is what one version has done."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from handlers.metrics import INFERENCE_SECONDS, PROBLEMS, TOP1_PROBABILITY
from handlers.problems import InternalError
from serving.inference import InferenceClient
from serving.rollout.observed import MetricsError, Observed, observe
from tests.archives import registered
from tests.service import DEMO, Service
from tests.serving.rollout.versions import make_version
from tests.web.scripted_server import Scripted, ScriptedServer

NEW = "0.5"
_PATIENCE_S = 60
_LABELS = 'Level="Model",Hostname="here"'


def of(version: str, more: str = "", model: str = DEMO) -> str:
    return f'{{ModelName="{model}",ModelVersion="{version}",{_LABELS}{more}}}'


def slug(name: str) -> str:
    return f',problem="{name}"'


RECORDED = f"""\
# HELP {TOP1_PROBABILITY} Torchserve prometheus histogram metric with unit: probability
# TYPE {TOP1_PROBABILITY} histogram
{TOP1_PROBABILITY}_bucket{of("0.1", ',le="0.5"')} 1.0
{TOP1_PROBABILITY}_bucket{of("0.1", ',le="+Inf"')} 6.0
{TOP1_PROBABILITY}_count{of("0.1")} 6.0
{TOP1_PROBABILITY}_sum{of("0.1")} 5.4
{TOP1_PROBABILITY}_count{of(NEW)} 60.0
{TOP1_PROBABILITY}_count{of("0.1", model="dogs")} 600.0
# HELP {INFERENCE_SECONDS} Torchserve prometheus histogram metric with unit: s
# TYPE {INFERENCE_SECONDS} histogram
{INFERENCE_SECONDS}_count{of("0.1")} 3.0
{INFERENCE_SECONDS}_sum{of("0.1")} 0.12
{INFERENCE_SECONDS}_sum{of(NEW)} 12.0
# HELP {PROBLEMS} Torchserve prometheus counter metric with unit: count
# TYPE {PROBLEMS} counter
{PROBLEMS}{of("0.1", slug(InternalError.slug))} 2.0
{PROBLEMS}{of("0.1", slug("too-large"))} 8.0
{PROBLEMS}{of(NEW, slug("too-large"))} 80.0
# HELP MemoryUsed Torchserve prometheus gauge metric with unit: Megabytes
# TYPE MemoryUsed gauge
MemoryUsed{{Level="Host",Hostname="here",}} 1234.5
"""


def recorded(version: str, text: str = RECORDED) -> Observed:
    with ScriptedServer(Scripted(200, text.encode())) as server:
        return observe(server.url, DEMO, [version])[version]


def test_one_version_of_one_model_is_read() -> None:
    seen = recorded("0.1")
    assert seen == Observed(6, {InternalError.slug: 2, "too-large": 8}, 0.12)
    assert seen.requests == 16
    assert seen.error_share == 2 / 16
    assert seen.inference_s_per_photo == pytest.approx(0.02)


@pytest.mark.parametrize(("version", "text"), [("0.9", RECORDED), ("0.1", "")])
def test_a_version_that_has_done_nothing(version: str, text: str) -> None:
    seen = recorded(version, text)
    assert seen == Observed(0, {}, 0.0)
    assert (seen.requests, seen.error_share, seen.inference_s_per_photo) == (0, 0, 0)


def test_the_difference_is_what_happened_in_between() -> None:
    later = Observed(10, {InternalError.slug: 2, "too-large": 9, "invalid-option": 1}, 0.32)
    between = later - recorded("0.1")
    assert between.photos == 4
    assert between.problems == {"too-large": 1, "invalid-option": 1}
    assert between.error_share == 0
    assert between.inference_s_per_photo == pytest.approx(0.05)


@pytest.mark.parametrize(
    "answer",
    [
        Scripted(500, b"no"),
        Scripted(404, RECORDED.encode()),
        Scripted(200, b"<html> {not metrics"),
        Scripted(200, None),
    ],
)
def test_no_metrics(answer: Scripted) -> None:
    with ScriptedServer(answer) as server, pytest.raises(MetricsError, match=server.url):
        observe(server.url, DEMO, ["0.1"])


def test_a_connection_that_breaks_once_ends_no_watch() -> None:
    with ScriptedServer(Scripted(200, None), Scripted(200, RECORDED.encode())) as server:
        assert observe(server.url, DEMO, ["0.1"])["0.1"].photos == 6
    assert len(server.asked) == 2


def test_nobody_listens() -> None:
    with pytest.raises(MetricsError, match="no metrics"):
        observe("http://127.0.0.1:1", DEMO, ["0.1"])


def test_a_real_torchserve_tells_versions_apart(
    service: Service, demo_archive: Path, cat_photo: bytes, tmp_path: Path
) -> None:
    url = service.server.metrics_url
    client = InferenceClient(service.server.inference_url, service.token)
    archive = make_version(demo_archive, tmp_path, NEW)
    served = archive.rename(demo_archive.parent / archive.name)
    with registered(service, served, DEMO, NEW):
        old, new = rested(url, "0.1"), rested(url, NEW)
        milliseconds = 0.0
        for _ in range(3):
            milliseconds += client.predict(cat_photo, DEMO, NEW).answer["timing_ms"]["inference"]
        service.post(f"/predictions/{DEMO}/{NEW}", b"no photo")
        seen = waited(lambda: observe(url, DEMO, [NEW])[NEW] - new, 4)
        assert (seen.photos, seen.problems) == (3, {"unsupported-image": 1})
        assert seen.error_share == 0
        assert 1000 * seen.inference_s == pytest.approx(milliseconds, abs=0.1)
        assert rested(url, "0.1") == old


def rested(url: str, version: str) -> Observed:
    """Once it no longer changes: TorchServe reads counts from the worker's output, a bit later."""
    before = None
    while (now := observe(url, DEMO, [version])[version]) != before:
        before = now
        time.sleep(0.3)
    return now


def waited(look: Callable[[], Observed], requests: int) -> Observed:
    """Once so many are counted, with all that is written along with the last."""
    deadline = time.monotonic() + _PATIENCE_S
    while look().requests < requests:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    before = None
    while (now := look()) != before:
        before = now
        time.sleep(0.3)
    return now
