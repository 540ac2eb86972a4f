"""How often reduced precision gives float32's answer, measured on photos when an archive is made.

A worker uses bf16 or int8 only where the model card says that it may (`handlers.engines`). What it
says is found here, on the validation photos: none of training, and none of the test photos, by
which nothing is decided.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from handlers.checksums import SHARED_FOLDER
from handlers.config import Limits, Precision
from handlers.engines import FEWEST_PHOTOS, LEAST_AGREEMENT, is_vouched_for
from handlers.images import decode_image
from handlers.openvino_engine import OpenVinoEngine, supported_precisions
from handlers.preprocessing import Preprocessing
from handlers.problems import Problem
from training.conversion import quantise, write_graph
from training.data.dataset import Photo
from training.evaluation.predictor import EvaluationError
from training.evaluation.predictors import described_by_run
from training.evaluation.selection import can_be_split, select
from training.progress import progress_bar
from training.run_folder import Run

# Photos of the training part that int8's ranges are taken from: NNCF's own default.
_CALIBRATION_PHOTOS = 300
_AT_ONCE = 16
_OTHERWISE = "without --data the archive is made for float32 alone"


@dataclass(frozen=True)
class Agreement:
    """What the card says of one precision.

    Attributes:
        top1_agreement: share of the photos with the same top class as in float32.
        photos: how many, of which part of the split.
        engine: what computed both, with its version.
    """

    top1_agreement: float
    photos: int
    part: str
    engine: str


def in_words(precisions: Mapping[Precision, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each precision of a model card: what was measured, and whether it may be used."""
    for name, found in precisions.items():
        share, photos, least = found["top1_agreement"], found["photos"], LEAST_AGREEMENT[name]
        what = f"{name}: float32's class for {share:.1%} of {photos} {found['part']} photos"
        if is_vouched_for(name, share, photos):
            yield f"{what}: may be used"
        else:
            yield f"{what}: not used, as {least:.1%} of {FEWEST_PHOTOS} are needed"


def measure(
    run_folder: Path,
    run: Run,
    model: nn.Module,
    graph: Any,  # noqa: ANN401
    data: Path,
    folder: Path,
) -> dict[Precision, Agreement]:
    """Compare each precision that this machine has with float32.

    Writes int8's graph below `folder` where it agrees well enough to be used.

    Args:
        model: the run's folded model.
        graph: `training.conversion.convert`'s of it.
        data: the photos of the training, in the same folders as then.
        folder: becomes an archive's; holds the float32 graph already.

    Raises:
        EvaluationError: the photos are not those of the training or cannot be told from the run,
            or none is left.
        DatasetError: `data` does not hold the layout.
    """
    description = described_by_run(run_folder, run)
    if not can_be_split(run.data, run.data.get("layout")):
        raise EvaluationError(
            f"{run_folder}: does not say how the photos of its training lie and were split, as an "
            f"imported model does not, so that reduced precision cannot be measured; {_OTHERWISE}"
        )
    held_out = select(description, data, "validation", otherwise=_OTHERWISE)
    parameters = model.state_dict()
    able = supported_precisions()
    if "int8" in able:
        learned = select(description, data, "training", otherwise=_OTHERWISE).photos
        step = max(1, len(learned) // _CALIBRATION_PHOTOS)
        inputs = _inputs(run.preprocessing, data, learned[::step][:_CALIBRATION_PHOTOS], "int8")
        write_graph(quantise(graph, [each[None] for each in inputs]), parameters, "int8", folder)
    threads = torch.get_num_threads()
    engines = {each: OpenVinoEngine(folder, parameters, each, threads) for each in able}
    same = dict.fromkeys(able, 0)
    photos = 0
    for batch in _batches(_inputs(run.preprocessing, data, held_out.photos, "comparing")):
        answers = {each: engine.logits(batch).argmax(1) for each, engine in engines.items()}
        photos += len(batch)
        for precision, classes in answers.items():
            same[precision] += int((classes == answers["f32"]).sum())
    if not photos:
        raise EvaluationError(f"{data}: none of {len(held_out.photos)} validation photos decodes")
    engine = f"openvino {version('openvino')}"
    found = {each: Agreement(same[each] / photos, photos, held_out.part, engine) for each in able}
    del found["f32"]
    if "int8" in found and not is_vouched_for("int8", found["int8"].top1_agreement, photos):
        for file in folder.glob("openvino/int8.*"):
            file.unlink()
    # What workers share is no part of an archive.
    shutil.rmtree(folder / SHARED_FOLDER)
    return found


def _inputs(
    preprocessing: Preprocessing, data: Path, photos: Sequence[Photo], note: str
) -> Iterator[Tensor]:
    """float32 (3, height, width) of each photo that decodes, with a progress bar."""
    with progress_bar() as progress:
        for photo in progress.track(photos, description=note):
            try:
                image = decode_image(
                    (data / photo.path).read_bytes(), Limits(), preprocessing.decoded_side
                )
            except (Problem, OSError):
                continue
            yield preprocessing(image)


def _batches(inputs: Iterator[Tensor]) -> Iterator[Tensor]:
    """float32 (up to `_AT_ONCE`, 3, height, width)."""
    waiting: list[Tensor] = []
    for each in inputs:
        waiting.append(each)
        if len(waiting) == _AT_ONCE:
            yield torch.stack(waiting)
            waiting = []
    if waiting:
        yield torch.stack(waiting)
