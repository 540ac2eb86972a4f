"""What TorchServe's metrics say of one version (see `handlers.metrics`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from serving.http import call_repeatedly

# `handlers.metrics` has these names, too, but importing it imports TorchServe.
_ANSWERED = "catbreeds_top1_probability_count"
_PROBLEMS = "catbreeds_problems_total"
_INFERENCE_S = "catbreeds_inference_seconds_sum"
_INTERNAL = "internal-error"
_TIMEOUT_S = 10.0


class MetricsError(OSError):
    """The metrics cannot be read; the message says where and why."""


@dataclass(frozen=True)
class Observed:
    """Counts since TorchServe's start, or over a while: the difference of two.

    Attributes:
        photos: answered with classes. Explanations are not among them.
        problems: kind of problem -> photos and requests answered with it.
        inference_s: seconds in the network, of all batches.
    """

    photos: int
    problems: Mapping[str, int]
    inference_s: float

    def __sub__(self, earlier: Observed) -> Observed:
        rose = Counter(self.problems)
        rose.subtract(earlier.problems)
        return Observed(
            self.photos - earlier.photos,
            {slug: count for slug, count in rose.items() if count},
            self.inference_s - earlier.inference_s,
        )

    @property
    def requests(self) -> int:
        """All that was answered, well or with a problem."""
        return self.photos + sum(self.problems.values())

    @property
    def error_share(self) -> float:
        """Internal errors among all answers; 0 without one."""
        return self.problems.get(_INTERNAL, 0) / max(1, self.requests)

    @property
    def refused_share(self) -> float:
        """Problems among all answers, whoever's fault; 0 without one."""
        return sum(self.problems.values()) / max(1, self.requests)

    @property
    def inference_s_per_photo(self) -> float:
        """Seconds in the network for a photo; 0 without one."""
        return self.inference_s / self.photos if self.photos else 0.0

    def figures(self) -> dict[str, Any]:
        """For the history."""
        return {
            "requests": self.requests,
            "error_share": round(self.error_share, 4),
            "refused_share": round(self.refused_share, 4),
            "inference_ms": round(1000 * self.inference_s_per_photo, 2),
        }


def observe(metrics_url: str, model: str, versions: Iterable[str]) -> dict[str, Observed]:
    """What the handler has counted so far for each version; all 0 where it has answered nothing.

    TorchServe reads the counts from its workers' output, a little after the answer. What fails
    outside of our handler (a worker that dies, a full queue) is in none of them.

    Raises:
        MetricsError: no answer, or not metrics.
    """
    try:
        answer, _ = call_repeatedly("GET", f"{metrics_url}/metrics", None, _TIMEOUT_S)
        answer.raise_for_status()
        families = list(text_string_to_metric_families(answer.text))
    except requests.RequestException as error:
        raise MetricsError(f"{metrics_url}: no metrics: {type(error).__name__}") from error
    except ValueError as error:
        raise MetricsError(f"{metrics_url}: no metrics: {error}") from error
    return {version: _observed(families, model, version) for version in versions}


def _observed(families: Iterable[Metric], model: str, version: str) -> Observed:
    wanted = {"ModelName": model, "ModelVersion": version}
    photos, inference_s, problems = 0, 0.0, Counter[str]()
    for family in families:
        for sample in family.samples:
            if not wanted.items() <= sample.labels.items():
                continue
            if sample.name == _ANSWERED:
                photos += int(sample.value)
            elif sample.name == _PROBLEMS:
                problems[sample.labels.get("problem", "")] += int(sample.value)
            elif sample.name == _INFERENCE_S:
                inference_s += sample.value
    return Observed(photos, dict(problems), inference_s)
