"""The generators on a real server that is sometimes busy: what they say is what it saw."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.serving.figures import percentile
from benchmarks.serving.load.closed import run_closed
from benchmarks.serving.load.open import run_open
from benchmarks.serving.sides.side import Target
from serving.settings import free_ports
from tests.benchmarks.serving.sometimes_busy import DELAY_S, SometimesBusy

BODIES = (b"one", b"another")
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk")


@pytest.fixture
def server() -> Iterator[SometimesBusy]:
    with SometimesBusy() as running:
        yield running


def written(folder: Path, contents: list[bytes]) -> list[Path]:
    files = [folder / str(number) for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return files


@needs_wrk
@pytest.mark.parametrize("clients", [1, 8])
def test_a_closed_loop_counts_what_was_answered(
    server: SometimesBusy, tmp_path: Path, clients: int
) -> None:
    target = Target("127.0.0.1", server.port, "/photo")
    requests = written(tmp_path, [target.request(body) for body in BODIES])
    load = run_closed(f"http://127.0.0.1:{server.port}", requests, clients, 1)
    assert set(load.statuses) == {200, 503}
    assert load.ok == load.statuses[200]
    assert load.errors == load.statuses[503]
    # At the end each connection may have one under way.
    assert 0 <= server.answered.total() - sum(load.statuses.values()) <= clients
    assert set(server.bodies) == set(BODIES)
    assert 1000 * DELAY_S <= load.p50_ms <= load.p95_ms <= load.p99_ms
    assert load.rate == load.ok / load.seconds


@needs_wrk
def test_a_form_arrives_as_one(server: SometimesBusy, tmp_path: Path) -> None:
    target = Target("127.0.0.1", server.port, "/photo", "form", {"Authorization": "Bearer x"})
    (request,) = written(tmp_path, [target.request(b"a photo")])
    run_closed(f"http://127.0.0.1:{server.port}", [request], 1, 1)
    (body,) = server.bodies
    assert body == target.body(b"a photo")[1]
    assert b"Authorization: Bearer x\r\n" in request.read_bytes()


def test_an_open_loop_sends_when_it_is_due(server: SometimesBusy, tmp_path: Path) -> None:
    bodies = written(tmp_path, list(BODIES))
    host, seconds = f"http://127.0.0.1:{server.port}", 2.0
    load = run_open(host, "/photo", {"X": "y"}, bodies, 50, seconds, seed=1)
    sent = sum(load.statuses.values())
    assert set(load.statuses) == {200, 503}
    assert load.statuses == dict(server.answered)
    assert load.errors == load.statuses[503]
    assert load.offered == sent / seconds
    assert 0 < load.ok <= load.statuses[200]
    assert 1000 * DELAY_S <= load.p50_ms <= load.p99_ms
    again = run_open(host, "/photo", {}, bodies, 50, seconds, seed=1)
    assert again.offered == load.offered


def test_nobody_there_is_an_error_each_time(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (body,) = written(tmp_path, [b"photo"])
    load = run_open(f"http://127.0.0.1:{port}", "/photo", {}, [body], 20, 1.0)
    assert load.ok == 0
    assert load.errors == load.offered > 0


def test_a_percentile_is_a_latency_that_occurred() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7.0
    assert percentile([], 50) != percentile([], 50)
