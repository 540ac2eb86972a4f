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
from training.fitting.source import Source


def logits_of(
    module: nn.Module, source: Source, accelerator: Accelerator, reduced: bool = False
) -> Tensor:
    """float32 (N, classes) of all photos of a source, on the CPU, the same in each process.

    Args:
        reduced: compute in the precision that training does; else in float32.
    """
    count, world = len(source.labels), accelerator.num_processes
    mine = np.arange(accelerator.process_index, count, world)
    was_training = module.training
    module.eval()
    with torch.inference_mode(), accelerator.autocast() if reduced else nullcontext():
        parts = [module(source.prepared(batch)).float().cpu() for batch in source.plain(mine)]
    module.train(was_training)
    if world == 1:
        return torch.cat(parts)
    gathered = gather_object([(mine, torch.cat(parts) if parts else None)])
    logits = torch.empty(0)
    for indices, values in gathered:
        if values is not None:
            logits = logits if len(logits) else torch.empty(count, values.shape[1])
            logits[torch.from_numpy(indices)] = values
    return logits


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
