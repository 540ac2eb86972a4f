"""How good the model is on the validation photos, computed by all processes together."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.nn import functional as F

from training.evaluation.metrics import (
    answers_of,
    balanced_accuracy,
    per_class,
    top_k_accuracy,
)
from training.fitting.batches import Indices
from training.fitting.source import Source


def logits_of(
    module: nn.Module, source: Source, accelerator: Accelerator, reduced: bool = False
) -> Tensor:
    """float32 (N, classes) of all photos of a source, on the CPU, the same in each process.

    Args:
        reduced: compute in the precision that training does; else in float32.
    """
    mine = my_logits(module, source, accelerator, reduced)
    return gathered(mine, len(source.labels), accelerator)


def my_logits(
    module: nn.Module, source: Source, accelerator: Accelerator, reduced: bool = False
) -> Tensor:
    """Those of every so-manieth photo, by the number of processes; see `logits_of`.

    Raises:
        DatasetError: a photo is gone or does not decode any more.
    """
    mine = _mine(len(source.labels), accelerator)
    was_training = module.training
    module.eval()
    with torch.inference_mode(), accelerator.autocast() if reduced else nullcontext():
        parts = [module(source.prepared(batch)).float().cpu() for batch in source.plain(mine)]
    module.train(was_training)
    return torch.cat(parts) if parts else torch.empty(0, 0)


def gathered(mine: Tensor, count: int, accelerator: Accelerator) -> Tensor:
    """What the processes have found by `my_logits`, in the order of the photos."""
    if accelerator.num_processes == 1:
        return mine
    logits = torch.empty(0)
    for indices, values in gather_object([(_mine(count, accelerator), mine)]):
        if len(values):
            logits = logits if len(logits) else torch.empty(count, values.shape[1])
            logits[torch.from_numpy(indices)] = values
    return logits


def _mine(count: int, accelerator: Accelerator) -> Indices:
    return np.arange(accelerator.process_index, count, accelerator.num_processes)


def figures(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """top1, top5 and balanced_accuracy in 0..1, and the mean cross-entropy `loss`.

    Args:
        logits: float (N, classes).
        labels: int64 (N,).
    """
    classes = per_class(answers_of(logits), labels, logits.shape[1])
    return {
        "top1": top_k_accuracy(logits, labels, 1),
        "top5": top_k_accuracy(logits, labels, 5),
        "balanced_accuracy": balanced_accuracy(classes),
        "loss": float(F.cross_entropy(logits.double(), labels)),
    }
