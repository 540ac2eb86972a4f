from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from handlers.config import Limits
from handlers.images import decode_image
from handlers.preprocessing import Preprocessing
from tests.training.small_sets import write_small_set
from training.data.dataset import DatasetError, Photo
from training.data.layouts import read_dataset
from training.fitting.augmentation import Augmentation
from training.fitting.loading import each
from training.fitting.photos import Photos, normaliser
from training.fitting.rows import Node
from training.progress import progress_bar
from training.spec import AugmentationSpec

ALONE = Node(local_rank=0, local_world_size=1, first_rank=0, wait=lambda: None)
PREPROCESSING = Preprocessing(40, 32, "bilinear", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_small_set("dogs-vs-cats", tmp_path / "data", 4)
    return tmp_path / "data"


@pytest.fixture
def listed(folder: Path) -> tuple[Photo, ...]:
    return read_dataset("dogs-vs-cats", folder).photos


def test_normalised_pixels_are_those_of_the_worker_to_the_last_bit(
    folder: Path, listed: tuple[Photo, ...]
) -> None:
    photos = Photos(folder, listed, PREPROCESSING)
    keys = [(index, 0) for index in range(len(listed))]
    normalised = normaliser(PREPROCESSING, torch.device("cpu"))
    (batch,) = each(photos, keys, 64, progress_bar(), "")
    for row, photo in zip(normalised(batch), listed, strict=True):
        decoded = decode_image((folder / photo.path).read_bytes(), Limits())
        assert torch.equal(row, PREPROCESSING(decoded))


def test_a_cache_gives_the_same_views(
    folder: Path, listed: tuple[Photo, ...], tmp_path: Path
) -> None:
    spec = AugmentationSpec.model_validate({"crop": {"kind": "none"}, "flip": True, "shift": 3})
    decoded, cached = (
        Photos(folder, listed, PREPROCESSING, Augmentation(spec, PREPROCESSING), seed=4)
        for _ in range(2)
    )
    cached.cache(tmp_path / "photos.u8", ALONE, progress_bar())
    keys = [(index, view) for index in range(len(listed)) for view in range(4)]
    assert all(torch.equal(decoded[key], cached[key]) for key in keys)
    assert not list(tmp_path.glob("*.partial"))
    # The photos are not looked at again, and a complete cache is not made anew.
    (folder / listed[0].path).unlink()
    assert torch.equal(cached[0, 0], cached[0, 0])
    Photos(folder, listed, PREPROCESSING).cache(tmp_path / "photos.u8", ALONE, progress_bar())


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"", None])
def test_a_photo_that_has_rotted_is_named(
    folder: Path, listed: tuple[Photo, ...], content: bytes | None
) -> None:
    rotten = folder / listed[5].path
    rotten.unlink()
    if content is not None:
        rotten.write_bytes(content)
    photos = Photos(folder, listed, PREPROCESSING)
    with pytest.raises(DatasetError, match=listed[5].path):
        list(each(photos, [(index, 0) for index in range(8)], 4, progress_bar(), ""))


def test_views_differ_between_photos_epochs_and_seeds(folder: Path) -> None:
    Image.effect_noise((64, 64), 90).convert("RGB").save(folder / "noise.png")
    twice = [Photo("noise.png", 0, "a"), Photo("noise.png", 0, "b")]
    spec = AugmentationSpec.model_validate({"crop": {"kind": "random-resized", "area": 0.2}})
    augmentation = Augmentation(spec, PREPROCESSING)
    one, other = (Photos(folder, twice, PREPROCESSING, augmentation, seed) for seed in (1, 2))
    views = [one[0, 1], one[0, 2], one[1, 1], one[1, 2], other[0, 1], other[0, 2]]
    assert len({view.numpy().tobytes() for view in views}) == len(views)
