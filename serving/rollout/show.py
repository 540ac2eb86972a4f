"""How commands that roll out look on a terminal, and as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from serving.audit import Call
from serving.history import Event
from serving.rollout.overview import VersionOverview
from serving.rollout.report import Report, Step
from serving.terminal import print_table

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Progress(AbstractContextManager["Progress"]):
    """One line a finished step on standard error, and on a terminal what the present one does."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._status: Status | None = None
        if self._console.is_terminal:
            self._status = self._console.status("")

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status:
            self._status.stop()

    def show(self, step: Step) -> None:
        """`report.Show`."""
        if step.outcome == "begun":
            if self._status:
                self._status.update(f"{step.name}  {step.found}")
            return
        mark = "ok    " if step.outcome == "ok" else "failed"
        # Why it failed is the command's last line.
        found = step.found if step.outcome == "ok" else ""
        line = f"{mark}  {step.name:<14}{step.seconds:6.1f} s  {found}"
        self._console.print(line.rstrip(), markup=False)


class Answer:
    """What a command says in the end: a line, or an object with its steps."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.report: Report | None = None

    def say(self, outcome: str, line: str, **described: object) -> None:
        """That it is done."""
        if self.as_json:
            steps = [asdict(step) for step in self.report.steps] if self.report else []
            print(json.dumps({"outcome": outcome, **described, "steps": steps}, indent=2))
        else:
            print(line)

    def refuse(self, error: Exception) -> None:
        """That it is not."""
        print(f"error: {error}", file=sys.stderr)
        if self.as_json:
            self.say("refused", "", reason=str(error))


def print_models(as_json: bool, rows: Sequence[VersionOverview]) -> None:
    """A line a version."""
    if as_json:
        print(json.dumps({"models": [asdict(row) for row in rows]}, indent=2))
        return
    columns: tuple[tuple[str, Callable[[VersionOverview], str]], ...] = (
        ("model", lambda row: row.model),
        ("version", lambda row: row.version),
        ("state", _state),
        ("workers", lambda row: f"{row.workers}/{max(row.workers, row.workers_wanted)}"),
        ("ready", lambda row: "yes" if row.ready else "no" if row.workers_wanted else "-"),
        ("memory", lambda row: f"{row.memory_bytes / 1e6:.0f} MB" if row.memory_bytes else "-"),
        ("queue", lambda row: str(row.queue)),
        ("top-1", lambda row: "-" if row.top1 is None else f"{row.top1:.3f}"),
        ("deployed", lambda row: f"{_age(row.since)} ago" if row.since else "-"),
    )
    print_table([name for name, _ in columns], [[get(row) for _, get in columns] for row in rows])


def print_history(as_json: bool, events: Sequence[Event]) -> None:
    """A line an event, the latest last."""
    if as_json:
        print(json.dumps({"events": [asdict(event) for event in events]}, indent=2))
        return
    if not events:
        print("nothing has been deployed or rolled back here", file=sys.stderr)
    for event in events:
        about = f"{event.model} {event.version}".strip()
        print(
            f"{event.time}  {event.action:<8}  {about:<20}  {event.step:<14}"
            f"{event.outcome:<8}  {event.reason}".rstrip()
        )


def print_calls(as_json: bool, calls: Sequence[Call]) -> None:
    """A line a call of the management API."""
    if as_json:
        print(json.dumps({"calls": [asdict(call) for call in calls]}, indent=2))
        return
    for call in calls:
        print(f"{call.time}  {call.remote:<21}  {call.status}  {call.method:<6}  {call.path}")


def _state(row: VersionOverview) -> str:
    return f"canary {row.canary_share:.0%}" if row.canary_share is not None else row.state


def _age(since: str) -> str:
    seconds = max(0.0, time.time() - datetime.fromisoformat(since).timestamp())
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return "0 s"
