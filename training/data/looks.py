"""Which photos look the same: copies that were re-encoded, resized, brightened or made grey.

A look is three 64-bit hashes of the grey picture, shape (3,), uint64: the signs of its lowest
frequencies (pHash, http://www.phash.org), and of its brightness gradients along rows and along
columns (dHash, https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html).

Two looks are the same within the limits below. They were chosen on 6,883 real photos and 2,700
drawn cats, which come in few poses: all 49 pairs within them show the same picture, and the nearest
different pictures, two drawn cats, are 8 and 13 apart. Photos of one sitting mostly lie outside.
"""

from __future__ import annotations

from itertools import combinations

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Looks = NDArray[np.uint64]

FREQUENCY_DISTANCE = 6
GRADIENT_DISTANCE = 16

# Standard deviation in grey levels, of 32 x 32 px: below it the signs are those of noise, and all
# plain pictures would be copies of each other. The plainest of the real photos has 4.4.
_LEAST_CONTRAST = 3.0

# Within a distance of 6, at least two of eight bands of 8 bits are equal (Norouzi et al. 2012,
# https://arxiv.org/abs/1307.2982).
_BANDS = [np.uint64(0xFF << shift) for shift in range(0, 64, 8)]


def look_of(picture: Image.Image) -> Looks | None:
    """The look of a photo, or None where it is too plain to be compared."""
    grey = picture.convert("L")
    small = np.asarray(grey.resize((32, 32), Image.Resampling.BOX), dtype=np.float32)
    if small.std() < _LEAST_CONTRAST:
        return None
    hashes = (imagehash.phash(grey), imagehash.dhash(grey), imagehash.dhash_vertical(grey))
    return np.array([np.packbits(h.hash).view(">u8")[0] for h in hashes], dtype=np.uint64)


def alike(one: Looks, other: Looks) -> NDArray[np.bool_]:
    """Whether looks (..., 3) are the same, element by element."""
    apart = np.bitwise_count(one ^ other)
    frequencies: NDArray[np.bool_] = apart[..., 0] <= FREQUENCY_DISTANCE
    gradients: NDArray[np.bool_] = apart[..., 1] + apart[..., 2] <= GRADIENT_DISTANCE
    return frequencies & gradients


def alike_firsts(looks: Looks) -> NDArray[np.int64]:
    """Which looks belong together, as they are the same directly or through others.

    Pairs are forgotten as soon as they have been joined: of N looks of one picture there are half
    of N squared. Memory is that of a few arrays of N numbers.

    Args:
        looks: (N, 3), no two of them equal in all bits.

    Returns:
        (N,), the index of the first look that each belongs to; its own where it is that.
    """
    firsts = np.arange(len(looks))
    for one, other in combinations(_BANDS, 2):
        keys = looks[:, 0] & (one | other)
        order = np.lexsort((firsts, keys))
        keys, joined = keys[order], firsts[order]
        begins = np.ones(len(keys), dtype=np.bool_)
        begins[1:] = (keys[1:] != keys[:-1]) | (joined[1:] != joined[:-1])
        runs = np.cumsum(begins)
        # Each look is compared with those of the same key, from the first behind its own cluster.
        rows = np.arange(len(keys))
        others = np.searchsorted(runs, runs, side="right")
        ends = np.searchsorted(keys, keys, side="right")
        while len(rows):
            left = others < ends
            rows, others, ends = rows[left], others[left], ends[left]
            _join_alike(looks, firsts, order[rows], order[others])
            others = others + 1
    return firsts


def _join_alike(
    looks: Looks, firsts: NDArray[np.int64], ones: NDArray[np.int64], others: NDArray[np.int64]
) -> None:
    """Join, in `firsts`, the pairs of some that are the same and were not together before."""
    apart = firsts[ones] != firsts[others]
    ones, others = ones[apart], others[apart]
    same = alike(looks[ones], looks[others])
    for one, other in zip(ones[same].tolist(), others[same].tolist(), strict=True):
        first, second = sorted((int(firsts[one]), int(firsts[other])))
        if first != second:
            firsts[firsts == second] = first
