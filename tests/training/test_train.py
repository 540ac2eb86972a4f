from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from handlers.preprocessing import Preprocessing
from training.datasets import DatasetError, read_cat_breeds
from training.drawn_cats import write_photos
from training.recipe import TrainingSpec
from training.train import fit, load_photos, predict, top_k_accuracy

PREPROCESSING = Preprocessing((16, 16), None, "bilinear", (0.5,) * 3, (0.5,) * 3)
SPEC = TrainingSpec(
    epochs=3,
    batch_size=8,
    learning_rate=0.05,
    momentum=0.9,
    weight_decay=0.0,
    warmup=0.3,
    label_smoothing=0.0,
    shift=2,
    flip=True,
    seed=5,
)


def trained(spec: TrainingSpec, log: Path) -> torch.nn.Module:
    torch.manual_seed(1)
    inputs, labels = torch.randn(30, 3, 16, 16), torch.arange(30) % 3
    # A mark that survives mirroring and shifting tells the classes apart.
    inputs[torch.arange(30), labels] += 2.0
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 3, 1), torch.nn.Flatten(), torch.nn.LazyLinear(3)
    )
    model(inputs)
    fit(model, inputs, labels, spec, log)
    return model


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    first, again = (trained(SPEC, tmp_path / "log").state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = trained(SPEC.model_copy(update={"seed": 6}), tmp_path / "log").state_dict()
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_learns_and_writes_a_line_an_epoch(tmp_path: Path) -> None:
    trained(SPEC.model_copy(update={"epochs": 8}), tmp_path / "log")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    assert lines[-1]["loss"] < lines[0]["loss"] / 2


def test_what_does_not_decode_is_left_out_and_reported(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_photos(folder, seed=1, per_breed=1, size=64, workers=1)
    dataset = read_cat_breeds(folder)
    (folder / dataset.photos[3].path).write_bytes(b"<html>not found</html>")
    loaded = load_photos(dataset, dataset.photos[:6], PREPROCESSING)
    assert loaded.inputs.shape == (5, 3, 16, 16)
    assert loaded.labels.tolist() == [0, 1, 2, 4, 5]
    assert loaded.photos == [dataset.photos[n] for n in (0, 1, 2, 4, 5)]
    assert loaded.rotten == [dataset.photos[3].path]
    with pytest.raises(DatasetError, match="none of 1 photos decodes"):
        load_photos(dataset, dataset.photos[3:4], PREPROCESSING)


def test_top_k_counts_a_class_among_the_k_best() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    labels = torch.tensor([0, 1])
    assert [top_k_accuracy(logits, labels, k) for k in (1, 2, 5)] == [0.5, 1.0, 1.0]


def test_prediction_does_not_depend_on_the_batch_size() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(12, 2))
    inputs = torch.randn(7, 3, 2, 2)
    torch.testing.assert_close(predict(model, inputs, 2), predict(model, inputs, 7))
