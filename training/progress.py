"""One look for all long work: a bar with a rate and the time left, and nothing when piped."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f} photos/s")


class _Note(ProgressColumn):
    def __init__(self) -> None:
        # What does not fit is cut off: a bar of several lines leaves some of them behind.
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))

    def render(self, task: Task) -> Text:
        return Text(task.fields.get("note", ""))


def progress_bar() -> Progress:
    """A bar on standard error for tasks counted in photos; a task may have a field `note`."""
    return _bar(_Rate())


def download_bar() -> Progress:
    """A bar on standard error for tasks counted in bytes; a task may have a field `note`."""
    return _bar(DownloadColumn(), TransferSpeedColumn())


def steps_bar() -> Progress:
    """A bar on standard error for tasks counted in steps; a task may have a field `note`."""
    return _bar(MofNCompleteColumn())


def _bar(*columns: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        *columns,
        _Note(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
