"""Cross-entropy, and what is done to it and to its inputs while training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.fitting.batches import Imbalance, Indices

# (logits (n, classes), labels (n,)) -> summed loss
Loss = Callable[[Tensor, Tensor], Tensor]


def summed_cross_entropy(
    labels: Indices, classes: int, imbalance: Imbalance, smoothing: float, device: torch.device
) -> Loss:
    """The loss of a batch, summed over its photos.

    Args:
        labels: of all training photos, for the share of each class.
        imbalance: "logit-adjustment" adds the log of each class's share to its logit (Menon et al.
            2021, https://arxiv.org/abs/2007.07314, tau = 1).
        smoothing: share of the target that is spread over all classes.
    """
    counts = np.bincount(labels, minlength=classes).clip(min=1)
    prior = torch.zeros(classes)
    if imbalance == "logit-adjustment":
        prior = torch.from_numpy(np.log(counts / counts.sum())).float()
    prior = prior.to(device)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        # In float32, whatever the network computes in.
        adjusted = logits.float() + prior
        return F.cross_entropy(adjusted, targets, label_smoothing=smoothing, reduction="sum")

    return loss


class Mixup:
    """Pairs of photos, blended (Zhang et al. 2018, https://arxiv.org/abs/1710.09412).

    As BiT does it: one share for all photos of a step, partners within what goes through the
    network together.
    """

    def __init__(self, alpha: float, seed: int, step: int) -> None:
        """Draw the share; `alpha` 0 leaves photos and loss as they are."""
        self._seed = seed, step
        random = np.random.default_rng(self._seed)
        self._share = float(random.beta(alpha, alpha)) if alpha else 1.0

    def __call__(
        self, inputs: Tensor, targets: Tensor, loss: Loss, place: int = 0
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Blended inputs, and the loss of their logits.

        Args:
            place: where in the step's batch these begin: it decides who is blended with whom,
                whichever process does it.
        """
        if self._share == 1.0:
            return inputs, lambda logits: loss(logits, targets)
        random = np.random.default_rng((*self._seed, 1 + place))
        partner = torch.from_numpy(random.permutation(len(inputs))).to(inputs.device)
        blended = self._share * inputs + (1 - self._share) * inputs[partner]
        others = targets[partner]
        return (
            blended,
            lambda logits: (
                self._share * loss(logits, targets) + (1 - self._share) * loss(logits, others)
            ),
        )
