from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from tests.training.data.photos import jpeg, picture
from training.data.clusters import Clusters
from training.data.looks import Looks, alike, alike_firsts, look_of

BITS = 3 * 64


def look(image: Image.Image) -> Looks:
    found = look_of(image)
    assert found is not None
    return found


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded": lambda photo: Image.open(io.BytesIO(jpeg(photo, quality=30))),
    "small": lambda photo: photo.resize((photo.width // 3, photo.height // 3)),
    "large": lambda photo: photo.resize((photo.width * 2, photo.height * 2)),
    "grey": lambda photo: photo.convert("L").convert("RGB"),
    "bright": lambda photo: ImageEnhance.Brightness(photo).enhance(0.85),
}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_looks_the_same(seed: int, change: str) -> None:
    photo = picture(seed, 240, 180)
    assert alike(look(photo), look(CHANGES[change](photo)))


def test_different_pictures_look_different() -> None:
    looks = [look(picture(seed)) for seed in range(60)]
    assert not any(alike(one, other) for one, other in combinations(looks, 2))


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_plain_pictures_are_not_compared(level: int) -> None:
    noise = np.random.default_rng(level).integers(-2, 3, (90, 120, 3))
    plain = np.clip(np.full((90, 120, 3), level) + noise, 0, 255).astype(np.uint8)
    assert look_of(Image.fromarray(plain)) is None
    assert look_of(Image.new("RGB", (1, 1), (level, level, level))) is None


@st.composite
def many_looks(draw: st.DrawFn) -> Looks:
    """Looks around a few centres, at distances on both sides of the limits."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    centres = rng.integers(0, 2, (draw(st.integers(1, 4)), BITS), dtype=np.uint8)
    rows = []
    for _ in range(draw(st.integers(0, 40))):
        row = centres[rng.integers(len(centres))].copy()
        row[rng.choice(64, rng.integers(0, 9), replace=False)] ^= 1
        row[64 + rng.choice(128, rng.integers(0, 20), replace=False)] ^= 1
        rows.append(row)
    bits = np.array(rows, dtype=np.uint8).reshape(-1, BITS)
    packed = np.packbits(bits, axis=1).view(np.uint64)
    return np.unique(packed, axis=0)


@given(looks=many_looks())
def test_clusters_are_those_that_comparing_each_with_each_finds(looks: Looks) -> None:
    clusters = Clusters(len(looks))
    for one, other in combinations(range(len(looks)), 2):
        if alike(looks[one], looks[other]):
            clusters.join(one, other)
    expected = {look: members[0] for members in clusters.members() for look in members}
    assert dict(enumerate(alike_firsts(looks).tolist())) == expected


def test_many_looks_of_one_picture_take_little_memory() -> None:
    """As of the frames of a film: of 3,000 that look the same there are 4.5 million pairs."""
    rng = np.random.default_rng(0)
    bits = np.tile(rng.integers(0, 2, BITS, dtype=np.uint8), (3000, 1))
    for row in bits:
        row[rng.choice(64, 3, replace=False)] ^= 1
        row[64 + rng.choice(128, 8, replace=False)] ^= 1
    other = rng.integers(0, 2, (1, BITS), dtype=np.uint8)
    other[0, :16] = bits[0, :16]  # compared with many of them, in vain
    looks = np.packbits(np.concatenate([other, bits]), axis=1).view(np.uint64)
    tracemalloc.start()
    try:
        firsts = alike_firsts(looks)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert firsts.tolist() == [0] + [1] * 3000
    assert most < 100 * looks.nbytes
