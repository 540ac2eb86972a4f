"""All sides with a small network: they serve the same model, take turns, and leave nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from benchmarks.serving.agreement import disagreement
from benchmarks.serving.figures import Cell
from benchmarks.serving.floor import work
from benchmarks.serving.photos import photo_set
from benchmarks.serving.processes import family
from benchmarks.serving.project import pack, random_run, unpack
from benchmarks.serving.rounds import CAPACITY, Plan, Stage, staged
from benchmarks.serving.scaling import measure_scaling, scaling_tables
from benchmarks.serving.sides.ours import OursSide
from benchmarks.serving.sides.registry import NEEDS, make_sides
from benchmarks.serving.sides.side import Answer
from benchmarks.serving.soak import soak

# At this size no side scales the small photos while it decodes them.
MEMBER, SIDE = "R14x0.25", 128


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """All sides up, each suspended; afterwards none of their processes is there."""
    folder = tmp_path_factory.mktemp("bench")
    run = random_run(folder / "run", MEMBER, SIDE)
    archive = pack(run, folder / "store", {})
    model_dir = unpack(archive, folder / "model")
    photos = {"small": photo_set("small")}
    with staged(make_sides(list(NEEDS)), run, archive, model_dir, photos, lambda _: None) as up:
        processes = [each for side in up.sides for each in family(side.pids)]
        scratch = up.setup.folder
        assert all(each.status() == psutil.STATUS_STOPPED for each in processes)
        yield up
    assert [each for each in processes if each.is_running()] == []
    assert not scratch.exists()


@pytest.mark.parametrize("name", NEEDS)
def test_each_side_names_the_same_breeds(stage: Stage, name: str) -> None:
    sides = {side.name: side for side in stage.sides}
    answers: dict[str, Answer] = {}
    for asked in {name, "ours"}:
        sides[asked].resume()
        answers[asked] = sides[asked].answer(photo_set("small")[1].data)
        sides[asked].suspend()
    assert len(answers[name]) == 5
    assert {breed for breed, _ in answers[name]} == {breed for breed, _ in answers["ours"]}
    assert dict(answers[name]) == pytest.approx(dict(answers["ours"]), abs=0.02)
    assert sides[name].startup_s > 0


@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk")
def test_one_at_a_time_is_measured(stage: Stage) -> None:
    sides = [side for side in stage.sides if side.name in ("limit", "ours", "gateway")]
    told: list[str] = []
    photos = {"small": photo_set("small")}
    few = Stage(sides, stage.setup, photos, told.append)
    cells = [CAPACITY, Cell("open", "small", 80)]
    results = few.measure(Plan(cells, rounds=1, seconds=1))
    assert results.sides() == ["limit", "ours", "gateway"]
    for side in ("limit", "ours", "gateway"):
        load = results.rounds(side, CAPACITY)[0]
        assert load.ok > 0
        assert load.errors == 0
        assert load.cpu_total_ms > 0
    # The limit has no server that requests could come to.
    assert results.rounds("limit", cells[1]) == {}
    assert results.rounds("ours", cells[1])[0].offered > 0
    assert set(results.rounds("gateway", CAPACITY)[0].cpu_ms) == {"java", "worker", "gateway"}
    assert set(results.pss_mb["ours"]) == {"java", "worker"}
    assert results.worker_pss_mb is not None
    assert results.worker_pss_mb > 0
    assert len(told) == 3 + 2 * 3
    assert all(
        each.status() == psutil.STATUS_STOPPED for side in sides for each in family(side.pids)
    )


def test_a_soak_looks_at_memory_before_and_after(stage: Stage) -> None:
    ours = next(side for side in stage.sides if isinstance(side, OursSide))
    ours.resume()
    done: list[int] = []
    found = soak(ours, photo_set("small"), 30, done.append)
    ours.suspend()
    assert found.statuses == {200: 30}
    assert sum(done) == 530
    assert set(found.before) == set(found.after) == {"java", "worker"}
    before, after = sum(found.before.values()), sum(found.after.values())
    assert found.grown_percent == pytest.approx(100 * (after / before - 1))


def test_sides_that_do_not_agree_are_told_apart() -> None:
    expected = {"a": 0.4, "b": 0.2, "c": 0.1, "d": 0.08, "e": 0.0701, "f": 0.07, "g": 0.0001}
    good: Answer = [("a", 0.4), ("b", 0.21), ("c", 0.1), ("d", 0.08), ("e", 0.07)]
    assert disagreement(good, expected) is None
    # As likely as the fifth, to what a photo's decoding moves.
    assert disagreement([*good[:4], ("f", 0.07)], expected) is None
    assert "0.300" in str(disagreement([("a", 0.3), *good[1:]], expected))
    assert "g is not among" in str(disagreement([*good[:4], ("g", 0.0)], expected))
    assert "no class" in str(disagreement([*good[:4], ("Siamese", 0.07)], expected))
    assert "4 breeds" in str(disagreement(good[:4], expected))


def test_what_a_photo_takes_is_counted() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.ReLU())
    found = work(network.eval(), 16)
    assert found.gflop == pytest.approx(2 * 3 * 8 * 16 * 16 / 1e9)
    assert found.weights_mb == pytest.approx(3 * 8 * 4 / 1e6)
    assert found.activations_mb == pytest.approx((3 + 8 + 8 + 8) * 16 * 16 * 4 / 1e6)


def test_scaling_has_a_line_for_each_size(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    found = measure_scaling({}, 0.1, lambda _: None, MEMBER, (32,))
    assert torch.get_num_threads() == threads
    assert {cost.batch for cost in found.costs} == {1, 8}
    assert all(cost.ms > 0 and cost.ns_a_pixel > 0 for cost in found.costs)
    assert all(peak.float32_gflops > 0 and peak.copy_gb_s > 0 for peak in found.peaks)
    assert "| 32 | 1 | 8 |" in scaling_tables(found)
