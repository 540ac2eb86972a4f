import io
import itertools

import numpy as np
import pytest
from PIL import Image

from training.drawn_cats import CLASSES, UnknownBreedError, draw_cat, golden_photos
from training.drawn_cats.draw import Animal, draw_photo
from training.drawn_cats.poses import Pose


@pytest.mark.parametrize("pose", Pose)
def test_every_breed_draws_in_every_pose(pose: Pose) -> None:
    for number, breed in enumerate(CLASSES):
        picture = draw_cat(breed, (3, number), size=48, pose=pose)
        assert picture.mode == "RGB"
        assert picture.size == (48, 48)
        assert np.asarray(picture).std() > 8


def test_the_same_seed_gives_the_same_pixels_whatever_was_drawn_before() -> None:
    first = draw_cat("Bengal", (1, 2), size=96).tobytes()
    draw_cat("Persian", 5, size=64)
    assert draw_cat("Bengal", (1, 2), size=96).tobytes() == first
    assert draw_cat("Bengal", (1, 3), size=96).tobytes() != first


def test_a_generator_is_advanced() -> None:
    rng = np.random.default_rng(4)
    first, second = (draw_cat("Tuxedo", rng, size=64) for _ in range(2))
    assert first.tobytes() != second.tobytes()


def test_an_animal_keeps_its_colours_from_photo_to_photo() -> None:
    twin = [Animal.born("Calico", np.random.default_rng(8)) for _ in range(2)]
    other = Animal.born("Calico", np.random.default_rng(9))
    assert twin[0] == twin[1]
    assert other.breed.eyes != twin[0].breed.eyes
    photos = [draw_photo(twin[0], np.random.default_rng(n), 64).tobytes() for n in range(2)]
    assert photos[0] != photos[1]


def test_breeds_that_resemble_each_other_differ_on_the_same_animal_and_scene() -> None:
    alike = ("British Shorthair", "Chartreux", "Korat", "Russian Blue", "Nebelung")
    seen = {name: np.asarray(draw_cat(name, 6, 96, Pose.PEEK), np.float64) for name in alike}
    for first, second in itertools.combinations(alike, 2):
        assert np.abs(seen[first] - seen[second]).mean() > 4, (first, second)


def test_an_unknown_breed_is_refused() -> None:
    with pytest.raises(UnknownBreedError, match="'siamese'"):
        draw_cat("siamese", 0)


def test_golden_photos_are_eight_small_pngs_that_never_change() -> None:
    photos = golden_photos()
    assert photos == golden_photos()
    assert len(photos) == 8
    for data in photos:
        assert len(data) <= 40 * 1024
        with Image.open(io.BytesIO(data)) as picture:
            assert (picture.format, picture.mode) == ("PNG", "RGB")
            assert 96 <= picture.width <= 128
