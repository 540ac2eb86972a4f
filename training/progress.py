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

# So that loss and validation figures have room in a terminal of 80 columns.
_BAR_WIDTH = 10


class _Rate(ProgressColumn):
    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f} photos/s")


class _Note(ProgressColumn):
    def __init__(self) -> None:
        # The one column that rich may narrow.
        super().__init__(Column(no_wrap=False))

    def render(self, task: Task) -> Text:
        # What does not fit is cut off: a bar of several lines leaves some of them behind.
        return Text(task.fields.get("note", ""), no_wrap=True, overflow="ellipsis")


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
        BarColumn(_BAR_WIDTH, table_column=Column(no_wrap=True)),
        TextColumn("{task.percentage:>3.0f}%"),
        *columns,
        _Note(),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        console=console,
        disable=not console.is_terminal,
    )
