"""Logits -> calibrated probabilities -> the answer to one photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from handlers.bundle import Bundle, UnsureScore
from handlers.config import Response

# Of a probability in an answer. What lies behind is noise: the batch a photo happens to be in
# already decides in which order a convolution sums.
DIGITS = 6


@dataclass(frozen=True)
class Timing:
    """Milliseconds that one photo took; `inference` is that of the whole batch it was in."""

    decode: float
    inference: float


def probabilities(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Softmax at a temperature (Guo et al. 2017, https://arxiv.org/abs/1706.04599).

    Args:
        logits: (classes,) or (N, classes), any float type.
        temperature: positive; 1 leaves the logits as they are.

    Returns:
        float64 of the same shape; sums to 1 over the classes.
    """
    return (logits.double() / temperature).softmax(-1)


def sureness(logits: torch.Tensor, temperature: float, score: UnsureScore) -> torch.Tensor:
    """How sure the model is of its answer: the higher, the surer.

    Args:
        logits: (classes,) or (N, classes), any float type.
        temperature: for "probability" alone; the other two take the logits as they are.
        score: "probability": the best calibrated probability; "max-logit": the largest logit
            (Hendrycks et al. 2022, https://arxiv.org/abs/1911.11132); "energy": the log of the
            summed exponentials of the logits, which is the negative energy at temperature 1 (Liu
            et al. 2020, https://arxiv.org/abs/2010.03759).

    Returns:
        float64, () or (N,).
    """
    if score == "probability":
        return probabilities(logits, temperature).amax(-1)
    return logits.double().amax(-1) if score == "max-logit" else logits.double().logsumexp(-1)


def are_unsure(
    logits: torch.Tensor, temperature: float, score: UnsureScore, threshold: float
) -> torch.Tensor:
    """The rule: an answer is unsure whose score lies below the threshold; at it, it is sure.

    Args:
        logits, temperature, score: see `sureness`.
        threshold: the model card's.

    Returns:
        bool, () or (N,).
    """
    return sureness(logits, temperature, score) < threshold


def is_unsure(bundle: Bundle, logits: torch.Tensor) -> bool:
    """Whether one answer is unsure by the model card; logits (classes,)."""
    return bool(
        are_unsure(logits, bundle.temperature, bundle.unsure_score, bundle.unsure_threshold)
    )


def top_classes(probability: torch.Tensor, count: int) -> list[int]:
    """Ids of the most probable classes, best first; of equals the lower id comes first."""
    order = torch.argsort(probability, descending=True, stable=True)
    return [int(index) for index in order[:count]]


def result(
    bundle: Bundle,
    probability: torch.Tensor,
    unsure: bool,
    top_k: int,
    timing: Timing,
    response: Response,
) -> dict[str, Any]:
    """The answer to one photo.

    Args:
        bundle: the model's name, version and classes.
        probability: float64 (classes,).
        unsure: see `is_unsure`.
        top_k: how many classes are listed.
        timing: of this photo.
        response: `labels` gives TorchServe's own {label: probability}, best first.
    """
    best = top_classes(probability, top_k)
    if response == "labels":
        return {bundle.class_names[i]: round(float(probability[i]), DIGITS) for i in best}
    return {
        "model": bundle.name,
        "version": bundle.version,
        "predictions": [prediction(bundle, probability, class_id) for class_id in best],
        "unsure": unsure,
        "timing_ms": {
            "decode": round(timing.decode, 2),
            "inference": round(timing.inference, 2),
        },
    }


def prediction(bundle: Bundle, probability: torch.Tensor, class_id: int) -> dict[str, Any]:
    """One class with its probability."""
    return {
        "breed": bundle.class_names[class_id],
        "class_id": class_id,
        "probability": round(float(probability[class_id]), DIGITS),
    }
