"""What is told of a run; the runs themselves are in tests/serving/test_load_command.py."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.serving.load.smoke import Answer, Smoke


def answer(due_s: float, status: int = 200, ms: float = 10.0, **more: str) -> Answer:
    return Answer(due_s, ms, status, **more)


ANSWERS = st.builds(
    Answer,
    due_s=st.floats(0, 60),
    ms=st.floats(0, 60_000),
    status=st.sampled_from([0, 200, 400, 429, 500, 503]),
    version=st.sampled_from(["", "0.1", "0.2"]),
    problem=st.sampled_from(["", "overloaded"]),
)


@given(st.lists(ANSWERS, min_size=1))
def test_each_request_is_counted_once(answers: list[Answer]) -> None:
    report = Smoke(0.0, 60.0, answers).report()
    counted = [report[name] for name in ("answered", "refused", "other", "unanswered")]
    assert sum(counted) == report["sent"] == len(answers)
    assert sum(report["statuses"].values()) == len(answers) - report["unanswered"]
    assert sum(each["count"] for each in report["versions"]) == report["answered"]
    assert sum(each["count"] for each in report["failures"]) == len(answers) - report["answered"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_refusal_is_no_lost_request() -> None:
    answers = [
        answer(0.5, 503, problem="overloaded", reason="a photo would wait 0.5 s"),
        answer(1.0, 502),
        answer(1.5, 0, reason="Connection refused"),
        answer(2.0, 429, problem="rate-limited"),
        answer(2.5, 0, reason="Connection refused"),
    ]
    report = Smoke(0.0, 3.0, answers).report()
    assert (report["refused"], report["other"], report["unanswered"]) == (2, 1, 2)
    assert report["latency_ms"] == {"p50": None, "p95": None, "p99": None, "max": None}
    assert report["failures"] == [
        {"kind": "503 overloaded", "count": 1, "first_s": 0.5, "last_s": 0.5},
        {"kind": "502", "count": 1, "first_s": 1.0, "last_s": 1.0},
        {"kind": "no answer: Connection refused", "count": 2, "first_s": 1.5, "last_s": 2.5},
        {"kind": "429 rate-limited", "count": 1, "first_s": 2.0, "last_s": 2.0},
    ]
    assert report["first_failures"][0] == {
        "at_s": 0.5,
        "kind": "503 overloaded",
        "reason": "a photo would wait 0.5 s",
    }


def test_versions_are_told_with_their_time() -> None:
    versions = ["0.1", "0.1", "0.2", "0.1", "0.2"]
    answers = [answer(float(at), model="cats", version=each) for at, each in enumerate(versions)]
    assert Smoke(0.0, 5.0, answers).report()["versions"] == [
        {"model": "cats", "version": "0.1", "count": 3, "first_s": 0.0, "last_s": 3.0},
        {"model": "cats", "version": "0.2", "count": 2, "first_s": 2.0, "last_s": 4.0},
    ]


def test_what_came_after_the_end_was_answered_and_yet_too_late_for_the_rate() -> None:
    answers = [answer(0.5), answer(1.0), answer(1.9, ms=500.0), answer(1.95, ms=100.0)]
    report = Smoke(0.0, 2.0, answers).report()
    assert report["answered"] == 4
    assert report["offered_per_s"] == 2.0
    assert report["answered_per_s"] == 1.0
    assert report["latency_ms"] == {"p50": 10.0, "p95": 500.0, "p99": 500.0, "max": 500.0}
