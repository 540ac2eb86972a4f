"""The embedded default does what the README promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.service import DEMO, Service
from training.datasets import read_cat_breeds
from training.run_folder import build_model, read_run
from training.train import load_photos, predict, top_k_accuracy


def test_the_demo_knows_drawn_cats_of_another_seed(demo_run: Path, unseen_cats: Path) -> None:
    run = read_run(demo_run)
    model = build_model(run)
    model.load_state_dict(load_file(demo_run / "weights.safetensors"))
    dataset = read_cat_breeds(unseen_cats)
    loaded = load_photos(dataset, dataset.photos, run.preprocessing)
    assert len(loaded.photos) == 6 * 67
    logits = predict(model, loaded.inputs)
    assert top_k_accuracy(logits, loaded.labels, 1) >= 0.90
    assert top_k_accuracy(logits, loaded.labels, 5) >= 0.99


@pytest.mark.parametrize(
    "breed", ["Sphynx - Hairless Cat", "Siamese", "Russian Blue", "Scottish Fold"]
)
def test_the_service_names_unseen_drawn_cats(
    service: Service, unseen_cats: Path, breed: str
) -> None:
    photos = sorted((unseen_cats / "images" / breed).glob("*.jpg"))
    assert len(photos) == 6
    named = [
        service.post(f"/predictions/{DEMO}", photo.read_bytes()).json()["predictions"][0]["breed"]
        for photo in photos
    ]
    assert named.count(breed) >= 5


def test_training_leaves_out_what_does_not_decode(demo_run: Path) -> None:
    data = read_run(demo_run).data
    assert data["not_decoded"]
    assert data["rows_without_file"]
    assert data["training_photos"] > 2000
    assert data["validation_photos"] >= 67
