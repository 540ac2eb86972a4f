"""Do all sides serve the same model? Looked at before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.serving.errors import BenchError
from benchmarks.serving.photos import Photo
from benchmarks.serving.sides.plain import Plain
from benchmarks.serving.sides.side import Answer, Side

# Percent are rounded by one side.
_TOLERANCE = 0.05
# bf16 and int8: somewhat more than the golden set allows, as these photos are not in it.
_REDUCED_TOLERANCE = 0.1
_TOP = 5


def check_agreement(
    sides: Iterable[Side], run: Path, photos: Sequence[Photo], reduced: bool = False
) -> None:
    """Ask each side for each photo, and compare with the run's own float32 network.

    Each side is resumed for it and suspended again.

    Args:
        reduced: whether our engine computes in less than float32.

    Raises:
        BenchError: one names other breeds or probabilities; says which, and what was expected.
    """
    plain = Plain(run)
    for photo in photos:
        shares = plain.probabilities(plain.tensor(photo.data)[None])[0]
        cooler = shares.log().div(plain.temperature).softmax(0)
        for side in sides:
            side.resume()
            answer = side.answer(photo.data)
            side.suspend()
            values = (cooler if side.calibrated else shares).tolist()
            expected = dict(zip(plain.classes, values, strict=True))
            wrong = disagreement(answer, expected, _tolerance(side, reduced))
            if wrong:
                raise BenchError(f"{side.name} does not agree about {photo.name}: {wrong}")


def _tolerance(side: Side, reduced: bool) -> float:
    return _REDUCED_TOLERANCE if reduced and side.calibrated else _TOLERANCE


def disagreement(
    answer: Answer, expected: dict[str, float], tolerance: float = _TOLERANCE
) -> str | None:
    """In words how five breeds differ from the expected probabilities; None where they do not.

    Breeds that are as likely as each other may come in any order, and one of them for another.
    """
    if len(answer) != _TOP or len({breed for breed, _ in answer}) != _TOP:
        return f"{len(answer)} breeds, {_TOP} expected"
    fifth = sorted(expected.values())[-_TOP]
    for breed, share in answer:
        if breed not in expected:
            return f"{breed!r} is no class of the run"
        if abs(share - expected[breed]) > tolerance:
            return f"{breed} {share:.3f}, {expected[breed]:.3f} expected"
        if expected[breed] < fifth - tolerance:
            return f"{breed} is not among the {_TOP} best"
    return None
