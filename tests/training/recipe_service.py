"""Recipes trained for a few steps on small sets of their layouts, archived, and served at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.archives import one_worker
from tests.training.small_sets import write_small_set
from training.archive import archive
from training.recipe import load_recipe
from training.run_folder import Run
from training.spec import HyperRule, PhaseSpec, Steps
from training.train import train

# Of each class: to learn from, to decide by, to judge by. Cats have two photos each, so that there
# nothing is left to judge by.
_PHOTOS = 3
# Of ten animals; of the others one photo is enough, to learn from.
_WHOLE_CLASSES = ("gatto", "cane")


@dataclass(frozen=True)
class Trained:
    """A recipe's run and archive; `data` is the folder of the photos."""

    run: Run
    archive: Path
    version: str
    data: Path

    @property
    def route(self) -> str:
        """Behind /predictions and /explanations."""
        return f"/{self.run.name}/{self.version}"

    def photo(self) -> bytes:
        """One of the photos that it was trained on."""
        return min(self.data.rglob("*.jp*g")).read_bytes()


def write_data(layout: str, folder: Path) -> None:
    """As few photos as may be."""
    write_small_set(layout, folder, _PHOTOS)
    if layout == "animals-10":
        for path in folder.rglob("*.jpeg"):
            if path.parent.name not in _WHOLE_CLASSES and path.stem != "0":
                path.unlink()


def train_shortly(recipe: str, folder: Path) -> Run:
    """Train by a recipe in `folder`, with random weights and its own input size: all that is
    changed is how many photos and steps there are."""
    spec = load_recipe(recipe)
    write_data(spec.data.layout, folder / "data")
    changes = ["training.batch_size=2", "training.micro_batch=2", "training.evaluate_every=0"]
    for number, phase in enumerate(spec.training.phases):
        changes += [f"training.phases.{number}.{change}" for change in _shorter(phase)]
    return train(
        recipe, folder / "data", folder / "run", changes=changes, weights="none", tracker="none"
    )


def _shorter(phase: PhaseSpec) -> list[str]:
    if isinstance(phase.schedule, HyperRule | Steps):
        # These say themselves how long, 500 steps at least.
        return ["steps=2", 'schedule={ kind = "steps", warmup = 1, drops = [1] }']
    return ["epochs=1"] if phase.epochs else ["steps=2"]


def pack(recipe: str, folder: Path, store: Path) -> Trained:
    """Train and archive; recipes of one name become versions of it."""
    run = train_shortly(recipe, folder)
    version = f"1.{len(list(store.glob(f'{run.name}-1.*.mar')))}"
    made = archive(folder / "run", version, store, one_worker(folder))
    return Trained(run, made, version, folder / "data")
