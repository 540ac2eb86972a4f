"""The worker's own Prometheus metrics, declared in metrics.yaml.

A worker has no metrics endpoint: each update is a line on its standard output, which TorchServe
parses. So counters are summed over a batch and written once; a histogram needs a line for every
value that it takes.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from ts.metrics.metric_type_enum import MetricTypes

from handlers.metric_labels import metric_label
from handlers.problems import Problem

DECODE_SECONDS = "catbreeds_decode_seconds"
INFERENCE_SECONDS = "catbreeds_inference_seconds"
TOP1_PROBABILITY = "catbreeds_top1_probability"
PROBLEMS = "catbreeds_problems_total"
UNSURE = "catbreeds_unsure_total"
PREDICTED = "catbreeds_predicted_total"

HISTOGRAMS = (DECODE_SECONDS, INFERENCE_SECONDS, TOP1_PROBABILITY)
COUNTERS = (PROBLEMS, UNSURE, PREDICTED)


class MetricsCache(Protocol):
    """The part of TorchServe's MetricsCacheYamlImpl that is used (`context.metrics`)."""

    cache: dict[Any, dict[str, Any]]


class Metrics:
    """Collects what happens in a batch and writes it out with `flush`."""

    def __init__(self, cache: MetricsCache | None, model_name: str, model_version: str) -> None:
        """Find the declared metrics.

        Args:
            cache: TorchServe's. A server whose metrics_config does not declare a metric would
                drop it anyway, so nothing is written for it.
            model_name: what the model is registered as: the dimension ModelName.
            model_version: the dimension ModelVersion, as several may be served side by side.
        """
        declared = cache.cache if cache is not None else {}
        self._histograms = declared.get(MetricTypes.HISTOGRAM, {})
        self._counters = declared.get(MetricTypes.COUNTER, {})
        self._common = [metric_label(model_name), metric_label(model_version), "Model"]
        self._values: list[tuple[str, float]] = []
        self._counts: Counter[tuple[str, str]] = Counter()

    def decoded(self, seconds: float) -> None:
        """A photo has been decoded and preprocessed."""
        self._values.append((DECODE_SECONDS, seconds))

    def inferred(self, seconds: float) -> None:
        """A batch has gone through the network."""
        self._values.append((INFERENCE_SECONDS, seconds))

    def predicted(self, breed: str, probability: float, *, unsure: bool) -> None:
        """A photo has been answered with this breed on top."""
        self._values.append((TOP1_PROBABILITY, probability))
        self._counts[PREDICTED, breed] += 1
        if unsure:
            self._counts[UNSURE, ""] += 1

    def refused(self, problem: Problem) -> None:
        """A photo or a request has been answered with a problem."""
        self._counts[PROBLEMS, problem.slug] += 1

    def flush(self) -> None:
        """Write everything since the last call."""
        values, counts = self._values, self._counts
        self._values, self._counts = [], Counter()
        for name, value in values:
            if name in self._histograms:
                self._histograms[name].add_or_update(round(value, 6), self._common)
        for (name, label), count in counts.items():
            if name in self._counters:
                labels = [metric_label(label)] if label else []
                self._counters[name].add_or_update(count, self._common + labels)
