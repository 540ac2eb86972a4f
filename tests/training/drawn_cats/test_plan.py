import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.drawn_cats.breeds import CLASSES
from training.drawn_cats.plan import MIN_PHOTOS, Trap, class_sizes, even_plan, trapped_plan


@given(st.integers(MIN_PHOTOS, 20_000))
def test_sizes_are_unequal_cover_every_breed_and_add_up(photos: int) -> None:
    sizes = class_sizes(photos)
    assert sorted(sizes) == sorted(CLASSES)
    assert sum(sizes.values()) == photos
    assert min(sizes.values()) >= 1
    assert max(sizes, key=lambda name: sizes[name]) == "Domestic Short Hair"
    assert max(sizes.values()) > 8 * min(sizes.values())


def test_the_smallest_class_of_the_default_set_holds_twelve() -> None:
    assert min(class_sizes(2700).values()) == 12


def test_too_few_photos_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"photos: 66; allowed: 402 or more"):
        class_sizes(66)
    with pytest.raises(ValueError, match=r"per_breed: 0; allowed: 1 or more"):
        even_plan(0, 0)


@given(st.integers(0, 2**32))
def test_the_traps_are_laid_for_every_seed(seed: int) -> None:
    plan = trapped_plan(seed, MIN_PHOTOS)
    paths = [photo.path for photo in plan.photos]
    assert len(paths) == len(set(paths))
    ids = {str(photo.animal_id) for photo in plan.photos}
    assert any(a != b and b.startswith(a) for a in ids for b in (a + d for d in "0123456789"
                                                                if a + d in ids))  # fmt: skip
    assert {photo.trap for photo in plan.photos} == {None, *Trap}
    shots: dict[int, int] = {}
    for photo in plan.photos:
        shots[photo.animal_id] = shots.get(photo.animal_id, 0) + 1
    assert max(shots.values()) >= 3
    assert min(shots.values()) == 1
    rows = {row.id: row.breed for row in plan.rows}
    assert len(rows) == len(plan.rows)
    assert all(rows[photo.animal_id] == photo.breed for photo in plan.photos)
    assert len(rows.keys() - shots.keys()) == plan.rows_without_photo > 0


def test_an_even_plan_has_one_photo_an_animal_and_no_traps() -> None:
    plan = even_plan(5, 3)
    assert len({photo.animal_id for photo in plan.photos}) == len(plan.photos) == 3 * len(CLASSES)
    assert all(photo.trap is None for photo in plan.photos)
