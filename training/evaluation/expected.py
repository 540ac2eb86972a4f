"""What the service may be expected to answer, by the photos that a model's figures are about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from handlers.bundle import UnsureScore
from handlers.expected import BOUNDS, Expected
from handlers.predictions import DIGITS, are_unsure, probabilities
from training.evaluation.metrics import answers_of


def expected_answers(
    logits: Tensor,
    classes: Sequence[str],
    temperature: float,
    score: UnsureScore,
    threshold: float,
    part: str,
) -> Expected | None:
    """For the model card.

    Args:
        logits: float (N, classes) of photos of one part of the split, N at least 1.
        classes: names in the order of the logits.
        temperature, score, threshold: those of the card.
        part: of the split.

    Returns:
        None where no logits are finite: a worker answers such a photo with an internal error.
    """
    logits = logits[logits.isfinite().all(dim=1)]
    photos = len(logits)
    if not photos:
        return None
    probability = probabilities(logits, temperature)
    answered = Counter(answers_of(probability).tolist())
    # As a worker tells them to its histogram (`handlers.metrics`).
    best = [round(each, DIGITS) for each in probability.amax(-1).tolist()]
    unsure = int(are_unsure(logits, temperature, score, threshold).sum())
    return Expected(
        photos=photos,
        part=part,
        predicted={name: answered[number] / photos for number, name in enumerate(classes)},
        top1_probability={
            bound: sum(each <= float(bound) for each in best) / photos for bound in BOUNDS
        },
        unsure=unsure / photos,
    )
