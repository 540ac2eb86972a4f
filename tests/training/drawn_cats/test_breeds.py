import dataclasses

import pytest

from training.drawn_cats.breeds import BREEDS, CLASSES, UnknownBreedError, breed_named
from training.drawn_cats.traits import EarShape, Hair, Pattern, Tail, White


def test_there_are_67_breeds_in_alphabetical_order() -> None:
    assert len(CLASSES) == 67
    assert list(CLASSES) == sorted(CLASSES)
    assert CLASSES[0] == "Abyssinian"
    assert CLASSES[-1] == "York Chocolate"


def test_no_two_breeds_look_alike() -> None:
    looks = {dataclasses.replace(breed, name="", note="") for breed in BREEDS}
    assert len(looks) == len(BREEDS)


def test_no_two_breeds_share_coat_hair_and_eyes() -> None:
    # The marks that every pose shows: a tail or short legs alone would be hidden in some.
    marks = {(breed.coat, breed.hair, breed.eyes) for breed in BREEDS}
    assert len(marks) == len(BREEDS)


@pytest.mark.parametrize("trait", [*Pattern, *White, *Hair, *EarShape, *Tail])
def test_every_trait_belongs_to_a_breed(trait: object) -> None:
    held = {
        value
        for breed in BREEDS
        for value in (
            breed.coat.pattern, breed.coat.white, breed.hair, breed.ears.shape, breed.tail,
        )
    }  # fmt: skip
    assert trait in held


@pytest.mark.parametrize(
    ("name", "trait"),
    [
        ("Sphynx - Hairless Cat", Hair.HAIRLESS),
        ("Scottish Fold", EarShape.FOLDED),
        ("American Curl", EarShape.CURLED),
        ("Manx", Tail.NONE),
        ("Cymric", Tail.NONE),
        ("Japanese Bobtail", Tail.BOB),
        ("Siamese", Pattern.POINTED),
        ("Bengal", Pattern.ROSETTED),
        ("Egyptian Mau", Pattern.SPOTTED),
        ("Tuxedo", White.BIB),
        ("Selkirk Rex", Hair.LONG_CURLY),
    ],
)
def test_a_breed_has_the_trait_it_is_known_for(name: str, trait: object) -> None:
    breed = breed_named(name)
    coat = breed.coat
    assert trait in (breed.hair, breed.ears.shape, breed.tail, coat.pattern, coat.white)


def test_an_unknown_breed_is_named_with_what_is_allowed() -> None:
    with pytest.raises(UnknownBreedError, match=r"'Labrador'; allowed: Abyssinian, .*York"):
        breed_named("Labrador")
