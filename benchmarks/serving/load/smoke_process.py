"""Run by `smoke.py`: requests as those of `open_process`, and what each answer says, as it comes.

Reads one JSON object, prints lines: {"began": Unix time, "requests": how many} and then for each
request one with the fields of `smoke.Answer`.
"""

from __future__ import annotations

# isort: off
# First: it patches what waits.
from benchmarks.serving.load.open_process import Got, due_times, send, status_of

# isort: on
import json
import resource
import sys
import time
from typing import Any


def main() -> None:
    """Read, send, print."""
    # Where nothing is answered for a while, hundreds of connections wait.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asked = json.load(sys.stdin)
    due = due_times(asked)

    def note(due_s: float, ended_s: float, got: Got) -> None:
        _tell({"due_s": due_s, "ms": 1000 * (ended_s - due_s), **_described(got)})

    _tell({"began": time.time(), "requests": len(due)})
    send(asked, due, note)


def _described(got: Got) -> dict[str, Any]:
    status = status_of(got)
    if status == 0:
        error = got if isinstance(got, Exception) else getattr(got, "error", None)
        return {"status": 0, "reason": _reason(error)}
    answer = _object(got)
    if status != 200:
        problem = str(answer.get("type", "")).rpartition(":")[2]
        reason = answer.get("detail") or answer.get("title") or ""
        return {"status": status, "problem": problem, "reason": str(reason)}
    if not answer:
        return {"status": 0, "reason": "the answer was cut short, or is no JSON"}
    told = {name: answer.get(name) for name in ("model", "version")}
    return {"status": 200} | {name: str(value) for name, value in told.items() if value}


def _reason(error: object) -> str:
    """In words, without the address and the names of classes."""
    error = getattr(error, "original", None) or error
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(reason).rstrip(".")


def _object(got: Any) -> dict[str, Any]:  # noqa: ANN401 - a response
    try:
        answer = json.loads(got.content)
    # It reads what is left of the body, in whatever coding it came.
    except Exception:
        return {}
    return answer if isinstance(answer, dict) else {}


def _tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
