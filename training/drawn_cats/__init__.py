"""Drawn cats: 67 breeds' looks, drawn from breed traits, in the layout of the cat-breeds set."""

from training.drawn_cats.breeds import CLASSES, UnknownBreedError
from training.drawn_cats.dataset import (
    LICENCE_NOTE,
    OutputExistsError,
    Summary,
    write_dataset,
    write_photos,
)
from training.drawn_cats.draw import draw_cat, golden_photos

__all__ = [
    "CLASSES",
    "LICENCE_NOTE",
    "OutputExistsError",
    "Summary",
    "UnknownBreedError",
    "draw_cat",
    "golden_photos",
    "write_dataset",
    "write_photos",
]
