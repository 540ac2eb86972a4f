"""Does the input pipeline keep up? Training steps on photos from files, and on tensors in memory.

    python -m benchmarks.training_input DATA --rounds 7

DATA is a folder in the cat-breeds layout. The network is R50x1 at 128 px with 67 classes, as the
recipe cat-breeds-original trains it; one step is one micro-batch. The sides take turns, round by
round; the first batch of each turn, for which the loader's processes start, is not counted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

import training  # noqa: F401  (before torch: it says how OpenMP's threads wait)
from training.data.layouts import read_dataset
from training.fitting.augmentation import Augmentation
from training.fitting.loading import load
from training.fitting.photos import Photos, normaliser
from training.models import bit
from training.recipe import load_recipe

_CLASSES = 67


@dataclass(frozen=True)
class Result:
    """Photos a second, by round, and the medians' ratio."""

    files: list[float]
    memory: list[float]
    ratio: float
    ratios: list[float]


def measure(data: Path, rounds: int, steps: int, batch_size: int) -> Result:
    """Take turns; each turn is so many steps."""
    recipe = load_recipe("cat-breeds-original")
    preprocessing = recipe.preprocessing
    dataset = read_dataset("cat-breeds", data)
    photos = Photos(
        data, dataset.photos, preprocessing, Augmentation(recipe.augmentation, preprocessing)
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    normalised = normaliser(preprocessing, device)
    model = bit.build(_CLASSES, **recipe.architecture.options).to(device).train()
    model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), 1e-4, 0.9)
    labels = torch.randint(_CLASSES, (batch_size,), device=device)
    order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(0)).tolist()

    def from_files(turn: int) -> Iterator[Tensor]:
        first = turn * steps * batch_size
        keys = [
            (order[(first + n) % len(order)], turn + 1) for n in range((steps + 1) * batch_size)
        ]
        batches = [keys[n : n + batch_size] for n in range(0, len(keys), batch_size)]
        return map(normalised, load(photos, batches))

    def from_memory(_turn: int) -> Iterator[Tensor]:
        height, width = preprocessing.size
        batch = torch.randn(batch_size, 3, height, width, device=device)
        batch = batch.to(memory_format=torch.channels_last)
        return iter([batch] * (steps + 1))

    def rate(batches: Iterator[Tensor]) -> float:
        began = 0.0
        for number, inputs in enumerate(batches):
            F.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            optimiser.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number == 0:
                began = time.perf_counter()
        return steps * batch_size / (time.perf_counter() - began)

    files, memory = [], []
    for turn in range(rounds):
        files.append(rate(from_files(turn)))
        memory.append(rate(from_memory(turn)))
    ratios = [ours / theirs for ours, theirs in zip(files, memory, strict=True)]
    return Result(files, memory, median(ratios), ratios)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="of a turn")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="print JSON for a script to read")
    options = parser.parse_args()
    result = measure(options.data, options.rounds, options.steps, options.batch_size)
    if options.json:
        print(json.dumps(asdict(result), indent=2))
        return
    print(f"files   {median(result.files):6.1f} photos/s")
    print(f"memory  {median(result.memory):6.1f} photos/s")
    low, high = min(result.ratios), max(result.ratios)
    print(f"ratio   {result.ratio:.3f} (rounds {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
