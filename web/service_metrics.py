"""Metrics of what stands behind the gateway, put together whenever they are asked for.

They come from the server's folder and from the models' cards, and so do their labels: nothing here
is a client's. What is not known is left out.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily

from handlers.expected import Expected
from handlers.metric_labels import metric_label
from serving.status import read_status
from serving.traffic import Canary
from web.models import Catalogue

_READY = "catbreeds_model_ready"
_SHARE = "catbreeds_version_share"
_WORKERS = "catbreeds_workers"
_MEMORY = "catbreeds_worker_memory_bytes"
_WAITING = "catbreeds_queue_waiting"
_TOKEN = "catbreeds_token_expires_timestamp_seconds"  # noqa: S105 - a name
_STATUS = "catbreeds_status_timestamp_seconds"
_PREDICTED = "catbreeds_expected_predicted_share"
_TOP1 = "catbreeds_expected_top1_probability_share"
_UNSURE = "catbreeds_expected_unsure_share"

_VERSION = ("model", "version")
# Name -> what it is, and its labels.
_GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    _READY: ("Whether the model has answered a photo lately.", ("model",)),
    _SHARE: ("Of the clients: those who get the version where they name none.", _VERSION),
    _WORKERS: ("Workers of a version, wanted and ready.", (*_VERSION, "state")),
    _MEMORY: ("Of the version's workers together.", _VERSION),
    _WAITING: ("Requests in TorchServe's queue.", _VERSION),
    _TOKEN: ("When the token ends unless it is renewed.", ("kind",)),
    _STATUS: ("When `catbreeds serve` last looked at workers and tokens.", ()),
    _PREDICTED: ("By the model card: photos with that breed on top.", (*_VERSION, "breed")),
    _TOP1: ("By the model card: photos with at most that best probability.", (*_VERSION, "le")),
    _UNSURE: ("By the model card: photos whose answer is unsure.", _VERSION),
}

Sample = tuple[str, tuple[str, ...], float]


def families() -> dict[str, GaugeMetricFamily]:
    """All metrics by name, without values."""
    return {
        name: GaugeMetricFamily(name, what, labels=labels)
        for name, (what, labels) in _GAUGES.items()
    }


class ServiceMetrics:
    """A collector for prometheus_client.

    Args:
        ready: model -> whether it is.
        folder: the server's; `server.json` and `status.json` are read there, if they are there.
    """

    def __init__(self, ready: Mapping[str, bool], catalogue: Catalogue, folder: Path) -> None:
        self._ready = ready
        self._catalogue = catalogue
        self._folder = folder

    def collect(self) -> list[GaugeMetricFamily]:
        """Those that have a value."""
        found = families()
        for samples in (self._models(), self._status(), self._expected()):
            for name, labels, value in samples:
                found[name].add_metric(labels, value)
        return [each for each in found.values() if each.samples]

    def _models(self) -> Iterator[Sample]:
        for model, is_ready in self._ready.items():
            yield _READY, (model,), float(is_ready)
        record = self._catalogue.record()
        canaries = record.canaries if record else {}
        for model, versions in self._catalogue.versions().items():
            shares = version_shares(versions, canaries.get(model), time.time())
            for version, share in shares.items():
                yield _SHARE, (model, version), share

    def _status(self) -> Iterator[Sample]:
        status = read_status(self._folder)
        if status is None:
            return
        yield _STATUS, (), status.at
        for kind, expires in status.token_expires.items():
            yield _TOKEN, (kind,), expires
        for model, versions in status.workers.items():
            for version, workers in versions.items():
                yield _WORKERS, (model, version, "wanted"), workers.wanted
                yield _WORKERS, (model, version, "ready"), workers.ready
                yield _MEMORY, (model, version), workers.memory_bytes
                yield _WAITING, (model, version), workers.waiting

    def _expected(self) -> Iterator[Sample]:
        for model, (version, section) in self._catalogue.expected().items():
            try:
                expected = Expected.from_dict(section)
            except ValueError:
                continue  # nothing was measured, or the card is of another age
            by_label: dict[str, float] = defaultdict(float)
            for breed, share in expected.predicted.items():
                by_label[metric_label(breed)] += share
            for label, share in by_label.items():
                yield _PREDICTED, (model, version, label), share
            for bound, share in expected.top1_probability.items():
                yield _TOP1, (model, version, bound), share
            yield _UNSURE, (model, version), expected.unsure


def version_shares(versions: Sequence[str], canary: Canary | None, now: float) -> dict[str, float]:
    """Version -> share of the clients who get it where they name none.

    Args:
        versions: those loaded, the default first; none where they are not known.
        canary: counts as absent where its time is over.
        now: in seconds since 1970.

    Returns:
        Adds up to 1, or is empty.
    """
    shares = dict.fromkeys(versions, 0.0)
    if not versions:
        return shares
    if canary is None or now >= canary.until:
        shares[versions[0]] = 1.0
        return shares
    shares[versions[0]] = 1 - canary.share
    shares[canary.version] = shares.get(canary.version, 0.0) + canary.share
    return shares
