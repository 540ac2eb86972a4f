"""Makes a run folder out of the two files of a model of the original cat-breeds project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from handlers.checksums import sha256_of
from handlers.preprocessing import Preprocessing
from training.models import bit
from training.models.names_and_shapes import differences
from training.original_files import WrongContentError, read_class_names, read_state
from training.run_folder import Run, write_run

_MEMBER = "R50x1"


def import_original(
    state: Path,
    classes: Path,
    out: Path,
    golden_photos: Sequence[bytes],
    name: str = "cat-breeds",
) -> Run:
    """Write a run folder for a model of the original project, executing nothing of its files.

    Args:
        state: `cats_model_state`; names may carry the `module.` of `nn.DataParallel`.
        classes: `cat_model_class_names`, in the order of the logits.
        out: the run folder, made if missing.
        golden_photos: encoded PNG files, a few small ones; their logits go into the run.
        name: what the model is called when it is served.

    Raises:
        UnsafeFileError: a pickle holds another opcode or global than plain data needs.
        UnreadableFileError: a file is missing, truncated or damaged.
        WrongContentError: not the state of an R50x1 with as many classes as there are names.
    """
    names = read_class_names(classes)
    model = bit.build(len(names), **bit.MEMBERS[_MEMBER])
    tensors = read_state(state)
    problem = differences(_shapes(model.state_dict()), _shapes(tensors))
    if problem:
        raise WrongContentError(
            f"{state}: not the state of a BiT {_MEMBER} with the {len(names)} classes of "
            f"{classes}; {problem}"
        )
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise WrongContentError(f"{state}: {key} holds infinities or NaN")
    model.load_state_dict(tensors)
    run = Run(
        name=name,
        architecture_file="bit",
        architecture_options=bit.MEMBERS[_MEMBER],
        preprocessing=Preprocessing(
            resize=128, crop=128, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
        ),
        classes=names,
        temperature=1.0,
        unsure_score="probability",
        unsure_threshold=0.5,
        data={
            "source": "imported from the original cat-breeds project's files; its photos are not "
            "part of the import",
            "split_hash": "unknown",
            "state_sha256": sha256_of(state),
            "class_names_sha256": sha256_of(classes),
            "reported_not_measured": {
                "test_top1": 0.4200,
                "train_top1": 0.4941,
                "majority_baseline": 0.42,
                "note": "figures that the original project gives for its own model and an 80/20 "
                "split; nothing was measured at the import, and this file may be another model",
            },
        },
        metrics={},
        intended_use="Suggesting the breeds that a cat in a photo looks like.",
        limitations=[
            "No metric was measured at the import. The original project reports a test accuracy "
            "of 42.00%, which is about what naming the most frequent class for every photo gives "
            "(about 42% of its photos are Domestic Short Hair).",
            "The breed labels of the original photos are noisy, and the classes very unequal: "
            "from 53,027 photos down to 1.",
            "The probabilities are not calibrated: temperature 1.0 and unsure threshold 0.5 are "
            "defaults, fitted to nothing.",
            "It knows only its own classes and answers with one of them for any picture.",
        ],
        licence_notes=[
            "The imported files state no licence for the weights or for the photos that they "
            "were trained on: ask their author before passing them on.",
            "The weights derive from Big Transfer (BiT-M-R50x1), whose code and checkpoints are "
            "published under Apache-2.0: https://github.com/google-research/big_transfer.",
        ],
    )
    write_run(out, run, model, golden_photos)
    return run


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}
