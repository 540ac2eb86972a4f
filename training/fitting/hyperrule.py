"""BiT-HyperRule: how to fine-tune by the size of the data set alone.

Kolesnikov et al. 2020, https://arxiv.org/abs/1912.11370, section 3.3; the numbers are those of
`bit_hyperrule.py` in https://github.com/google-research/big_transfer. SGD with momentum 0.9,
learning rate 0.003, batches of 512 and no weight decay belong to it, and the size of the photos,
resized to 512 and cropped to 480 (160 and 128 where they are smaller than 96 x 96): these are plain
values of the recipe `cat-breeds`.
"""

from __future__ import annotations

_SMALL, _MEDIUM = 20_000, 500_000
MIXUP_ALPHA = 0.1


def steps(photos: int) -> list[int]:
    """Where warm-up ends, where the learning rate drops to a tenth (thrice), where it all ends."""
    if photos < _SMALL:
        return [100, 200, 300, 400, 500]
    if photos < _MEDIUM:
        return [500, 3000, 6000, 9000, 10_000]
    return [500, 6000, 12_000, 18_000, 20_000]


def mixup(photos: int) -> float:
    """Alpha of mixup's Beta distribution; 0 for none."""
    return 0.0 if photos < _SMALL else MIXUP_ALPHA
