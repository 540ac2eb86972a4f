"""What is refused before training, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.data.photos import snapshot
from tests.training.small_sets import write_small_set
from tests.training.weights_server import WeightsServer
from training.data.dataset import DatasetError
from training.prepare import prepare
from training.recipe import load_recipe
from training.spec import Recipe
from training.train import train
from training.weights import WeightsError


@pytest.fixture
def recipe() -> Recipe:
    """One that begins with weights of others."""
    return load_recipe("pets")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_small_set("pets", tmp_path / "set", 6)
    return tmp_path / "set"


def unreached(*_: object) -> None:
    raise AssertionError("is not to be called")


def test_a_wrong_folder_costs_no_download(
    recipe: Recipe, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with WeightsServer() as server:
        monkeypatch.setenv("CATBREEDS_WEIGHTS_MIRROR", server.url)
        with pytest.raises(DatasetError, match="sett: no such folder"):
            prepare(recipe, tmp_path / "sett", None)
        assert server.asked == []
        monkeypatch.setattr("training.prepare.scan", unreached)
        with pytest.raises(WeightsError, match="answers 404"):
            prepare(recipe, data, None)
        assert server.asked == [("/resnet34-b627a593.pth", None)]


@pytest.mark.parametrize(
    ("weights", "told"),
    [("", "--weights: is empty; the path of a file, or none"), ("gone.pth", "gone.pth: no such f")],
)
def test_weights_that_are_no_file_are_refused_before_a_scan(
    recipe: Recipe, data: Path, monkeypatch: pytest.MonkeyPatch, weights: str, told: str
) -> None:
    for name in ("fetch", "scan"):
        monkeypatch.setattr(f"training.prepare.{name}", unreached)
    with pytest.raises(WeightsError, match=told):
        prepare(recipe, data, weights)


def test_no_weights_are_kept_in_the_data_folder(
    recipe: Recipe, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(data / "cache"))
    monkeypatch.setattr("training.prepare.fetch", unreached)
    with pytest.raises(WeightsError, match=r"lies in the data folder .* XDG_CACHE_HOME"):
        prepare(recipe, data, None)
    before = snapshot(data)
    assert prepare(recipe, data, "none").weights is None
    assert snapshot(data) == before


@pytest.mark.parametrize("out", ["set", "set/run", "link/run", "set/new/folder"])
def test_a_run_in_the_data_folder_is_refused_before_anything_is_read(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    (tmp_path / "link").symlink_to("set")
    monkeypatch.setattr("training.train.prepare", unreached)
    before = snapshot(data)
    with pytest.raises(DatasetError, match=r"lies in the data folder .*set, which is never"):
        train("pets", data, tmp_path / out, weights="none", tracker="none")
    assert snapshot(data) == before
