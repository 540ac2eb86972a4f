"""The embedded default does what the README promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from handlers.config import Limits
from handlers.images import decode_image
from handlers.predictions import probabilities
from tests.images import encode
from tests.service import DEMO, Service
from training.evaluation.evaluate import evaluate
from training.evaluation.predictors import from_run
from training.run_folder import build_model, read_run


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


def test_a_large_jpeg_that_is_decoded_at_a_half_gets_the_same_answer(
    demo_run: Path, unseen_cats: Path
) -> None:
    """The reduced way is that of evaluation and worker; the plain way decodes every pixel."""
    run = read_run(demo_run)
    model = build_model(run)
    model.load_state_dict(safetensors.torch.load_file(demo_run / "weights.safetensors"))
    photos = [_enlarged(path, 8) for path in sorted(unseen_cats.rglob("*_1.jpg"))[::2]]
    assert len(photos) >= 34
    both: list[list[Image.Image]] = [[], []]
    for photo in photos:
        both[0].append(decode_image(photo, Limits()))
        both[1].append(decode_image(photo, Limits(), run.preprocessing.decoded_side))
    assert {image.size for image in both[0]} == {(1536, 1536)}
    assert {image.size for image in both[1]} == {(768, 768)}
    with torch.inference_mode():
        plain, reduced = (
            probabilities(
                model(torch.stack([run.preprocessing(image) for image in images])), run.temperature
            )
            for images in both
        )
    difference = (plain - reduced).abs().amax(1)
    assert float((difference <= 0.01).double().mean()) >= 0.97
    assert float(difference.max()) <= 0.05
    five, same = (each.topk(5).indices.sort().values for each in (plain, reduced))
    assert float((five == same).all(1).double().mean()) >= 0.97


def _enlarged(path: Path, times: int) -> bytes:
    """As a camera of more pixels would have taken it, its noise included."""
    with Image.open(path) as photo:
        size = (photo.width * times, photo.height * times)
        pixels = np.asarray(photo.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, 4, pixels.shape)
    return encode(
        Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)), "JPEG", quality=90
    )
