"""What a recipe may say: one frozen type a table of the TOML file.

An unknown key, a wrong type and an impossible value are refused (`training.recipe` words it).
"""

from training.spec.augmentation import AugmentationSpec, NoCrop, RandomCrop, RandomResizedCrop
from training.spec.phase import Adam, Constant, Cosine, HyperRule, OneCycle, PhaseSpec, Sgd, Steps
from training.spec.recipe import ArchitectureSpec, CardSpec, DataSpec, Recipe, TrainingSpec

__all__ = [
    "Adam",
    "ArchitectureSpec",
    "AugmentationSpec",
    "CardSpec",
    "Constant",
    "Cosine",
    "DataSpec",
    "HyperRule",
    "NoCrop",
    "OneCycle",
    "PhaseSpec",
    "RandomCrop",
    "RandomResizedCrop",
    "Recipe",
    "Sgd",
    "Steps",
    "TrainingSpec",
]
