"""The same photos to two versions, and what they answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.inference import InferenceClient, Prediction, ServiceError
from serving.rollout.checks import CheckFailed

_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")
)
_MOST_PHOTOS = 1000
# They are held in memory, on the machine that serves.
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Thresholds:
    """How far the new version may differ.

    Attributes:
        min_agreement: share of photos with the same first class.
        max_slowdown: median latency, as a multiple.
        max_errors: share of photos that the new version alone does not answer.
    """

    min_agreement: float = 0.8
    max_slowdown: float = 3.0
    max_errors: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """What came of it. Latencies are milliseconds from request to answer.

    Attributes:
        photos: that were sent.
        answered: those answered by both. Agreement, difference and latencies are of these, and 0
            where there is none.
        agreement: share with the same first class.
        difference: mean of how far the probability of the current version's first class differs;
            where the new one does not list it, all of it.
        errors_new: photos that fare worse with the new version: it refuses one that the current
            answers, or fails on one that the current refuses.
        errors_current: the other way round.
    """

    photos: int
    answered: int
    agreement: float
    difference: float
    errors_new: int
    errors_current: int
    p50_ms_new: float
    p95_ms_new: float
    p50_ms_current: float
    p95_ms_current: float

    @property
    def slowdown(self) -> float:
        """The new version's median latency as a multiple of the current one's."""
        return self.p50_ms_new / self.p50_ms_current if self.p50_ms_current else 1.0

    def describe(self) -> str:
        """One line."""
        return (
            f"{self.answered} of {self.photos} photos: {self.agreement:.0%} agree, "
            f"{self.slowdown:.2f} times the time"
        )

    def figures(self) -> dict[str, Any]:
        """For the history."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class _Asked:
    """`status` is 200 where there is an answer."""

    status: int
    answer: Prediction | None
    ms: float

    def is_worse_than(self, other: _Asked) -> bool:
        """A refusal is worse than an answer, and a failure worse than a refusal."""
        return self.status // 100 > other.status // 100


def compare(
    client: InferenceClient,
    model: str,
    current: str,
    new: str,
    photos: Sequence[tuple[str, bytes]],
    progress: Callable[[int, int], None],
) -> Comparison:
    """Ask both versions for each photo once; they take turns in being first.

    Args:
        photos: (name, encoded image).
        progress: is told how many of how many photos are done.

    Raises:
        ServiceError: no answer at all.
    """
    pairs: list[tuple[_Asked, _Asked]] = []
    for number, (_, photo) in enumerate(photos):
        order = (current, new) if number % 2 == 0 else (new, current)
        asked = {version: _ask(client, photo, model, version) for version in order}
        pairs.append((asked[current], asked[new]))
        progress(number + 1, len(photos))
    both = [(c, n, c.answer, n.answer) for c, n in pairs if c.answer and n.answer]
    p50_current, p95_current = _percentiles([before.ms for before, _, _, _ in both])
    p50_new, p95_new = _percentiles([after.ms for _, after, _, _ in both])
    return Comparison(
        photos=len(photos),
        answered=len(both),
        agreement=_mean([c.breeds[0][0] == n.breeds[0][0] for _, _, c, n in both]),
        difference=_mean([_difference(c, n) for _, _, c, n in both]),
        errors_new=sum(after.is_worse_than(before) for before, after in pairs),
        errors_current=sum(before.is_worse_than(after) for before, after in pairs),
        p50_ms_new=p50_new,
        p95_ms_new=p95_new,
        p50_ms_current=p50_current,
        p95_ms_current=p95_current,
    )


def check(comparison: Comparison, thresholds: Thresholds) -> None:
    """Hold a comparison against what is allowed.

    Raises:
        CheckFailed: it is out of bounds, or no photo was answered by both; names value and limit.
    """
    errors = comparison.errors_new / max(1, comparison.photos)
    if errors > thresholds.max_errors:
        raise CheckFailed(
            f"{comparison.errors_new} of {comparison.photos} photos are errors of the new version "
            f"alone ({errors:.4g}); at most {thresholds.max_errors:g} is allowed"
        )
    if not comparison.answered:
        raise CheckFailed(
            f"none of {comparison.photos} photos was answered by both versions: nothing to compare"
        )
    if comparison.agreement < thresholds.min_agreement:
        raise CheckFailed(
            f"agreement {comparison.agreement:.4g} on {comparison.answered} photos; "
            f"at least {thresholds.min_agreement:g} is needed"
        )
    if comparison.slowdown > thresholds.max_slowdown:
        raise CheckFailed(
            f"slowdown {comparison.slowdown:.4g} (p50 {comparison.p50_ms_new:.1f} ms after "
            f"{comparison.p50_ms_current:.1f}); at most {thresholds.max_slowdown:g} is allowed"
        )


def load_photos(path: Path) -> list[tuple[str, bytes]]:
    """Photos to compare on, sorted by name. Whether they decode is for the versions to say.

    Args:
        path: a file, or a folder whose image files, and those of its folders, are taken. Of more
            than 1000 every so-manieth is, so that all folders have their share.

    Raises:
        CheckFailed: there is none, or they are larger than 1 GiB together.
        OSError: one cannot be read.
    """
    if path.is_file():
        files = [path]
    else:
        found = (each for each in path.rglob("*") if each.suffix.lower() in _SUFFIXES)
        files = sorted(each for each in found if each.is_file())
    if not files:
        raise CheckFailed(f"{path}: no photo there")
    taken = min(len(files), _MOST_PHOTOS)
    files = [files[number * len(files) // taken] for number in range(taken)]
    size = sum(file.stat().st_size for file in files)
    if size > _MOST_BYTES:
        raise CheckFailed(
            f"{path}: {size / 1e6:.0f} MB in {taken} photos; at most {_MOST_BYTES / 1e6:.0f} MB "
            "are allowed, take fewer or smaller ones"
        )
    return [(str(file), file.read_bytes()) for file in files]


def _ask(client: InferenceClient, photo: bytes, model: str, version: str) -> _Asked:
    began = time.perf_counter()
    try:
        answer = client.predict(photo, model, version)
    except ServiceError as error:
        if error.status is None:
            raise
        # 200 with something else than an answer is a failure, too.
        return _Asked(error.status if error.status >= 400 else 500, None, 0.0)
    return _Asked(200, answer, 1000 * (time.perf_counter() - began))


def _difference(current: Prediction, new: Prediction) -> float:
    name, probability = current.breeds[0]
    return abs(probability - dict(new.breeds).get(name, 0.0))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _percentiles(latencies_ms: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 95th."""
    if not latencies_ms:
        return 0.0, 0.0
    p50, p95 = np.percentile(latencies_ms, (50, 95))
    return float(p50), float(p95)
