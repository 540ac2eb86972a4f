"""How people write it: Pillow, torchvision's transforms, the network as it was trained."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from benchmarks.serving.project import load_run, top
from benchmarks.serving.sides.published import as_published
from handlers.preprocessing import Preprocessing


class Plain:
    """A run's model, eager and unfolded: each call standardises the weights once more."""

    def __init__(self, run: Path) -> None:
        model = load_run(run)
        self.network, self.classes = as_published(model.network), model.classes
        self.temperature = model.temperature
        self.transform = transform_of(model.preprocessing)

    def tensor(self, photo: bytes) -> Tensor:
        """An encoded photo as input, float32 (3, height, width); all its pixels are decoded."""
        tensor: Tensor = self.transform(Image.open(io.BytesIO(photo)).convert("RGB"))
        return tensor

    def probabilities(self, batch: Tensor) -> Tensor:
        """Float32 (N, 3, height, width) -> float32 (N, classes)."""
        with torch.no_grad():
            probabilities: Tensor = self.network(batch).softmax(1)
            return probabilities

    def labels(self, probabilities: Tensor) -> dict[str, float]:
        """The five best of one row."""
        return dict(top(probabilities.tolist(), self.classes))


def transform_of(preprocessing: Preprocessing) -> Callable[[Image.Image], Tensor]:
    """The same steps as torchvision's transforms."""
    steps = [
        transforms.Resize(preprocessing.resize, InterpolationMode(preprocessing.interpolation)),
        *([transforms.CenterCrop(preprocessing.crop)] if preprocessing.crop else []),
        transforms.ToTensor(),
        transforms.Normalize(preprocessing.mean, preprocessing.std),
    ]
    composed: Callable[[Image.Image], Tensor] = transforms.Compose(steps)
    return composed


def options() -> argparse.Namespace:
    """--port, --run and --model-dir, as `ChildSide` gives them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--model-dir", type=Path, required=True)
    return parser.parse_args()
