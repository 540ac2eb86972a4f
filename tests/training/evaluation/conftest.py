"""A small model that knows six colours, and its photos: most it answers rightly, some not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from handlers.config import Limits
from handlers.images import decode_image
from handlers.predictions import sureness
from handlers.preprocessing import Preprocessing
from tests.images import encode
from training.data.dataset import Photo
from training.data.layouts import read_dataset
from training.data.scan import scan
from training.data.split import split
from training.drawn_cats import golden_photos
from training.evaluation.predictor import Answered, ModelDescription, Refused
from training.models import bit
from training.run_folder import Run, build_model, write_run

COLOURS = {
    "Birman": (200, 170, 90),
    "Bombay": (60, 60, 60),
    "Russian_Blue": (90, 120, 190),
    "beagle": (190, 90, 70),
    "pug": (185, 110, 70),
    "samoyed": (230, 230, 230),
}
EACH = 14
BROKEN = "beagle_99.jpg"
RUN = Run(
    name="colours",
    architecture_file="bit",
    architecture_options=bit.MEMBERS["R14x0.25"],
    preprocessing=Preprocessing((32, 32), None, "bilinear", (0.5,) * 3, (0.5,) * 3),
    classes=list(COLOURS),
    temperature=1.4,
    unsure_score="energy",
    unsure_threshold=0.0,
    data={},
    metrics={},
    intended_use="tests",
    limitations=["it knows colours"],
    licence_notes=[],
)


def coloured(colour: tuple[int, int, int], seed: int) -> bytes:
    """A noisy photo of about that colour, as JPEG."""
    generator = np.random.default_rng(seed)
    tint = np.array(colour) + generator.normal(0, 18, 3)
    pixels = tint + generator.normal(0, 25, (40, 56, 3))
    return encode(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), "JPEG", quality=90)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen photos of each class in the layout `pets`, and one file that does not decode."""
    folder = tmp_path_factory.mktemp("colours")
    for number, (name, colour) in enumerate(COLOURS.items()):
        for photo in range(EACH):
            path = folder / f"{name}_{photo}.jpg"
            path.write_bytes(coloured(colour, 100 * number + photo))
    (folder / BROKEN).write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine photos of none of the classes, in folders, and what lies about beside them."""
    folder = tmp_path_factory.mktemp("strangers")
    (folder / "more").mkdir()
    for number in range(9):
        below = folder / "more" if number % 2 else folder
        (below / f"{number}.jpg").write_bytes(coloured((40, 230, 60), 1000 + number))
    (folder / ".DS_Store").write_bytes(b"hidden")
    (folder / "notes.txt").write_text("not a photo")
    return folder


@dataclass(frozen=True)
class Parts:
    """Sorted paths of a split."""

    training: list[str]
    validation: list[str]
    test: list[str]


@pytest.fixture(scope="session")
def parts(photos: Path) -> Parts:
    """The split that the run was made with."""
    dataset = read_dataset("pets", photos)
    made = split(dataset, scan(dataset), 0.25, 0.25, 5)
    return Parts(
        *(
            sorted(photo.path for photo in part)
            for part in (made.training, made.validation, made.test)
        )
    )


@pytest.fixture(scope="session")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose head is fitted to the training photos; some of its answers are unsure."""
    dataset = read_dataset("pets", photos)
    made = split(dataset, scan(dataset), 0.25, 0.25, 5)
    torch.manual_seed(2)
    model = build_model(RUN)

    def inputs_of(part: Sequence[Photo]) -> torch.Tensor:
        files = [(photos / photo.path).read_bytes() for photo in part]
        return torch.stack([RUN.preprocessing(decode_image(file, Limits())) for file in files])

    head = model.get_submodule("head.conv")
    seen: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, :, 0, 0]))
    with torch.inference_mode():
        model(inputs_of(made.training))
        hook.remove()
        wanted = 4 * torch.eye(len(COLOURS))[[photo.label for photo in made.training]]
        weight = torch.linalg.lstsq(
            seen[0].T @ seen[0] + 3 * torch.eye(seen[0].shape[1]), seen[0].T @ wanted
        ).solution
        model.get_parameter("head.conv.weight").copy_(weight.T[:, :, None, None])
        logits = model(inputs_of(made.validation))
        scores = sureness(logits, RUN.temperature, RUN.unsure_score).sort().values
    low = len(scores) // 4
    finished = dataclasses.replace(
        RUN,
        unsure_threshold=float(scores[low] + scores[low + 1]) / 2,
        data={
            "layout": "pets",
            "validation": 0.25,
            "test": 0.25,
            "seed": 5,
            "split_hash": made.hash,
            "training_photos": len(made.training),
        },
    )
    folder = tmp_path_factory.mktemp("colours-run") / "run"
    write_run(folder, finished, model, golden_photos()[:2])
    return folder


class Written:
    """Answers a photo with the logits that its file holds, so that figures can be had by hand.

    An answer is unsure where its largest logit lies below the threshold.
    """

    def __init__(self, classes: Sequence[str], temperature: float, threshold: float) -> None:
        self.model = ModelDescription(
            kind="run",
            source="written",
            name="written",
            version=None,
            classes=tuple(classes),
            temperature=temperature,
            unsure_score="max-logit",
            unsure_threshold=threshold,
            # Nothing to split by: the files are no photos, and are not decoded.
            data={"layout": "cat-breeds"},
            git_sha=None,
            sure_precision=0.9,
        )

    def predict(self, photos: Sequence[bytes]) -> list[Answered | Refused]:
        logits = [json.loads(photo) for photo in photos]
        threshold = self.model.unsure_threshold
        return [Answered(torch.tensor(each), max(each) < threshold) for each in logits]


def write_logits(folder: Path, photos: Mapping[str, Sequence[float]]) -> Path:
    """Files for `Written`, in the layout `cat-breeds`: "<breed>/<animal>_<n>" -> logits."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "cats.csv").write_text("id,breed\n")
    for name, logits in photos.items():
        path = folder / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(list(map(float, logits))))
    return folder
