"""Load on a gateway that is up, wherever it runs: does each photo get its answer? By locust.

Unlike `open` it keeps what became of each request: which version answered, what the problem was,
and when. So it also shows whether a deployment, a rollback or a crash under load lost a request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.serving.figures import percentile
from benchmarks.serving.load.generator import Told
from benchmarks.serving.load.open import run_locust

# Told of while it runs: requests that there will be, that have ended, and that failed.
Show = Callable[[int, int, int], None]

_PATH = "/api/classify"
_HEADERS = {
    "Content-Type": "application/octet-stream",
    "Accept-Encoding": "identity",
    # A connection each, as of so many visitors. A balancer before several gateways spreads
    # connections, not requests; and on one that was kept, a request can cross with the server's
    # goodbye, which a browser would send again.
    "Connection": "close",
}
_REFUSED = (429, 503)
_PERCENTS = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
_FIRST_FAILURES = 5


@dataclass(frozen=True)
class Answer:
    """What became of one request.

    Attributes:
        due_s: when it was due, seconds since the beginning.
        ms: until it had ended, from when it was due.
        status: HTTP status; 0 without an answer, or with half of one.
        model, version: that answered; empty where the answer does not tell.
        problem: last part of the problem's type; empty where the answer is no such problem.
        reason: of what is not 200, for a person.
    """

    due_s: float
    ms: float
    status: int
    model: str = ""
    version: str = ""
    problem: str = ""
    reason: str = ""

    @property
    def kind(self) -> str:
        """Of what is not 200: status and problem, or why there was no answer."""
        if self.status == 0:
            return f"no answer: {self.reason}"
        return f"{self.status} {self.problem}".rstrip()


@dataclass(frozen=True)
class Smoke:
    """One run.

    Attributes:
        began: Unix time.
        seconds: in which requests were due.
        answers: of all requests, in the order in which they were due.
    """

    began: float
    seconds: float
    answers: Sequence[Answer]

    def report(self) -> dict[str, Any]:
        """All that is told, as JSON takes it; `..._s` are when requests were due."""
        statuses = Counter(each.status for each in self.answers)
        ok = [each for each in self.answers if each.status == 200]
        failures = [each for each in self.answers if each.status != 200]
        # An answer that came after the end is one that the service was behind with.
        in_time = sum(each.due_s + each.ms / 1000 <= self.seconds for each in ok)
        refused = sum(statuses[status] for status in _REFUSED)
        latencies = [each.ms for each in ok]
        return {
            "began": datetime.fromtimestamp(self.began, UTC).isoformat(timespec="milliseconds"),
            "seconds": self.seconds,
            "sent": len(self.answers),
            "offered_per_s": round(len(self.answers) / self.seconds, 3),
            "answered": len(ok),
            "answered_per_s": round(in_time / self.seconds, 3),
            "refused": refused,
            "other": len(failures) - refused - statuses[0],
            "unanswered": statuses[0],
            "statuses": {str(status): statuses[status] for status in sorted(statuses) if status},
            "latency_ms": {
                name: round(percentile(latencies, percent), 1) if latencies else None
                for name, percent in _PERCENTS.items()
            },
            "versions": _groups(ok, "model", "version"),
            "failures": _groups(failures, "kind"),
            "first_failures": [
                {"at_s": round(each.due_s, 3), "kind": each.kind, "reason": each.reason}
                for each in failures[:_FIRST_FAILURES]
            ],
        }


def run_smoke(
    host: str,
    photos: Sequence[Path],
    rate: float,
    seconds: float,
    ca: Path,
    show: Show = lambda requests, ended, failed: None,
) -> Smoke:
    """Send photos at random times, the same times for the same rate.

    Args:
        host: of a gateway: http(s)://HOST:PORT.
        photos: files, sent in turn, as they are.
        rate: mean, photos a second.
        ca: PEM file of those whose certificates are trusted.

    Raises:
        BenchError: no locust, or it fails.
    """
    asked = {
        "host": host,
        "path": _PATH,
        "headers": _HEADERS,
        "bodies": [str(photo) for photo in photos],
        "rate": rate,
        "seconds": seconds,
        "seed": 0,
        "ca": str(ca),
    }

    def read(told: Told) -> Smoke:
        beginning, *rest = told
        answers = sorted((Answer(**each) for each in rest), key=lambda each: each.due_s)
        if len(answers) != beginning["requests"]:
            raise ValueError(f"{len(answers)} of {beginning['requests']} requests")
        return Smoke(beginning["began"], seconds, answers)

    def watch(told: Told) -> None:
        for beginning in told[:1]:
            failed = sum(each["status"] != 200 for each in told[1:])
            show(beginning["requests"], len(told) - 1, failed)

    return run_locust("smoke_process", asked, seconds, read, watch)


def _groups(answers: Sequence[Answer], *names: str) -> list[dict[str, Any]]:
    """Of the answers that agree in these attributes: how many, and when the first and last was."""
    found: dict[tuple[str, ...], list[Answer]] = {}
    for each in answers:
        found.setdefault(tuple(getattr(each, name) for name in names), []).append(each)
    groups = []
    for values, group in found.items():
        described: dict[str, Any] = dict(zip(names, values, strict=True))
        described["count"] = len(group)
        described["first_s"] = round(group[0].due_s, 3)
        described["last_s"] = round(group[-1].due_s, 3)
        groups.append(described)
    return groups
