"""The embedded default does what the README promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service import DEMO, Service
from training.evaluation.evaluate import evaluate
from training.evaluation.predictors import from_run
from training.run_folder import read_run


def test_the_demo_knows_drawn_cats_of_another_seed(
    demo_run: Path, unseen_cats: Path, tmp_path: Path
) -> None:
    found = evaluate(from_run(demo_run), unseen_cats, tmp_path, part="all")
    assert found.data.photos == 6 * 67
    assert found.headline.top1 >= 0.90
    assert found.headline.top5 >= 0.99


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
    assert named.count(breed) >= 4


def test_training_leaves_out_what_does_not_decode(demo_run: Path) -> None:
    data = read_run(demo_run).data
    assert data["not_decoded"]
    assert data["rows_without_file"]
    assert data["training_photos"] > 2000
    assert data["validation_photos"] >= 67
