from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from training.fitting.losses import Mixup, summed_cross_entropy

CPU = torch.device("cpu")
LABELS = np.array([0] * 8 + [1] * 2)


def test_the_plain_loss_is_summed_over_photos() -> None:
    loss = summed_cross_entropy(LABELS, 3, "none", 0.1, CPU)
    logits, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    expected = 5 * F.cross_entropy(logits, targets, label_smoothing=0.1)
    torch.testing.assert_close(loss(logits, targets), expected)


def test_logit_adjustment_adds_the_log_of_each_class_s_share() -> None:
    loss = summed_cross_entropy(LABELS, 2, "logit-adjustment", 0.0, CPU)
    # Equal logits mean: as common as in the training set.
    found = loss(torch.zeros(1, 2), torch.tensor([1]))
    assert float(found) == pytest.approx(-np.log(0.2))


def test_a_class_without_a_training_photo_does_not_break_the_adjustment() -> None:
    loss = summed_cross_entropy(LABELS, 3, "logit-adjustment", 0.0, CPU)
    assert torch.isfinite(loss(torch.zeros(1, 3), torch.tensor([2])))


def test_mixup_blends_inputs_and_losses_by_one_share() -> None:
    loss = summed_cross_entropy(LABELS, 2, "none", 0.0, CPU)
    inputs = torch.arange(6.0)[:, None].expand(6, 2)
    targets = torch.tensor([0, 1, 0, 1, 0, 1])
    blended, loss_of = Mixup(1.0, seed=5, step=3)(inputs, targets, loss)
    assert not torch.equal(blended, inputs)
    # Blending keeps the mean, and the loss of constant logits whatever the partners are.
    torch.testing.assert_close(blended.mean(), inputs.mean())
    logits = torch.tensor([[1.0, 0.0]]).expand(6, 2)
    torch.testing.assert_close(loss_of(logits), loss(logits, targets))
    again, _ = Mixup(1.0, seed=5, step=3)(inputs, targets, loss)
    assert torch.equal(again, blended)
    other, _ = Mixup(1.0, seed=5, step=4)(inputs, targets, loss)
    assert not torch.equal(other, blended)


def test_mixup_s_loss_is_that_of_each_photo_s_own_blend() -> None:
    """Zhang et al. 2018: share * loss of its label + (1 - share) * loss of its partner's."""
    loss = summed_cross_entropy(LABELS, 6, "none", 0.0, CPU)
    # One photo, one class: from a blend of them one can read off who was blended, and by how much.
    blended, loss_of = Mixup(1.0, seed=5, step=3)(torch.eye(6), torch.arange(6), loss)
    torch.testing.assert_close(blended.sum(1), torch.ones(6))
    assert len({round(float(value), 5) for value in blended.flatten() if 0 < value < 1}) == 2
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    expected = -(blended * F.log_softmax(logits, 1)).sum()
    torch.testing.assert_close(loss_of(logits), expected)


def test_the_place_in_the_batch_decides_on_partners() -> None:
    loss = summed_cross_entropy(LABELS, 6, "none", 0.0, CPU)
    targets = torch.arange(6)
    found = [Mixup(1.0, seed=5, step=3)(torch.eye(6), targets, loss, p)[0] for p in (0, 6, 6)]
    assert torch.equal(found[1], found[2])
    assert not torch.equal(found[0], found[1])
    # The share is that of the step.
    shares = [
        {round(float(value), 5) for value in blended.flatten() if 0 < value < 1}
        for blended in found
    ]
    assert len(shares[0]) == 2
    assert shares[0] == shares[1]


def test_without_mixup_inputs_stay_as_they_are() -> None:
    loss = summed_cross_entropy(LABELS, 2, "none", 0.0, CPU)
    inputs, targets = torch.randn(4, 2), torch.tensor([0, 1, 0, 1])
    same, loss_of = Mixup(0.0, seed=1, step=1)(inputs, targets, loss)
    assert same is inputs
    assert float(loss_of(inputs)) == float(loss(inputs, targets))
