"""What a command says while it works, and what it leaves in the history."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from serving import history

log = logging.getLogger(__name__)

Action = Literal["deploy", "rollback", "retire"]


@dataclass
class Step:
    """One step of a command.

    Attributes:
        found: one line on what it found, for a person.
        details: the same as figures, for the history.
    """

    name: str
    found: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    outcome: history.Outcome = "begun"


Show = Callable[[Step], None]


class Report:
    """Collects a command's steps; each goes to `show` when it begins and when it ends, and to the
    history when it ends.

    Args:
        store: where the history is; None keeps none, for a dry run.
    """

    def __init__(self, store: Path | None, action: Action, show: Show) -> None:
        self._store = store
        self._action = action
        self._show = show
        self.model, self.version, self.sha256 = "", "", ""
        self.steps: list[Step] = []

    def about(self, model: str, version: str, sha256: str) -> None:
        """Which version the next steps are about."""
        self.model, self.version, self.sha256 = model, version, sha256

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """A step; an exception makes it a failed one."""
        step = Step(name)
        self.steps.append(step)
        self._show(step)
        began = time.monotonic()
        try:
            yield step
        except BaseException as error:
            step.outcome = "failed"
            step.found = str(error) or "interrupted"
            raise
        else:
            step.outcome = "ok"
        finally:
            step.seconds = time.monotonic() - began
            self._show(step)
            self.note(name, step.outcome, step.found if step.outcome == "failed" else "", step)

    def tick(self, step: Step, found: str) -> None:
        """How far a long step is."""
        step.found = found
        self._show(step)

    def note(
        self, name: str, outcome: history.Outcome, reason: str = "", step: Step | None = None
    ) -> None:
        """One line in the history."""
        if self._store is None:
            return
        details: Mapping[str, Any] = {}
        if step is not None:
            details = {"seconds": round(step.seconds, 3), **step.details}
        event = history.Event(
            time=history.now(),
            action=self._action,
            model=self.model,
            version=self.version,
            step=name,
            outcome=outcome,
            reason=reason,
            sha256=self.sha256 or None,
            details=details,
        )
        try:
            history.append(self._store, event)
        except OSError as error:
            # A full disk must not keep anybody from rolling back.
            log.error("the history was not written: %s", error)
