"""A report on a data folder as text of 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.data.report import ClassCount, Copies, DataReport, PhotoSize, printable

# Of a long list, which `asdict` has whole.
_SHOWN = 8


def print_table(report: DataReport, console: Console | None = None) -> None:
    """Print a report, by default on standard output."""
    console = console or Console(highlight=False)
    console.print(f"[bold]{_text(report.folder)}[/]")
    known = report.animals < report.photos
    animals = f" of {report.animals:,} animals" if known else ""
    console.print(f"{report.photos:,} photos{animals}, {len(report.classes)} classes")
    if not known:
        console.print("[dim]Nothing says which show one animal: each counts as another.[/]")
    if report.smallest is not None and report.largest is not None:
        console.print(f"smallest {_size(report.smallest)}")
        console.print(f"largest  {_size(report.largest)}")
    console.print()
    console.print(_parts(report))
    console.print(
        f"[dim]Majority baseline: share right when {_text(report.majority_class)} is always "
        "given.[/]"
    )
    console.print(f"[dim]Split: {report.split_hash}[/]")
    console.print()
    console.print(_classes(report.classes))
    console.print()
    _findings(console, report)


def _parts(report: DataReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("part")
    for name in ("photos", "share", "classes", "majority baseline"):
        table.add_column(name, justify="right")
    for part, count in report.parts.items():
        baseline = "" if count.majority_baseline is None else f"{count.majority_baseline:.1%}"
        table.add_row(part, f"{count.photos:,}", f"{count.share:.1%}", str(count.classes), baseline)
    return table


def _classes(classes: Sequence[ClassCount]) -> Table:
    """The commonest first; a column that would be empty is left out."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", overflow="fold")
    columns = {
        "photos": [count.total for count in classes],
        "training": [count.training for count in classes],
        "validation": [count.validation for count in classes],
        "test": [count.test for count in classes],
        "no part": [count.dropped + count.undecodable for count in classes],
    }
    columns = {name: numbers for name, numbers in columns.items() if any(numbers)}
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in sorted(range(len(classes)), key=lambda row: -classes[row].total):
        cells = (f"{numbers[row]:,}" if numbers[row] else "-" for numbers in columns.values())
        table.add_row(_text(classes[row].name), *cells)
    return table


def _findings(console: Console, report: DataReport) -> None:
    conflicts = [
        f"{', '.join(found.classes)}: {_joined(found)}" for found in report.label_conflicts
    ]
    lists: Mapping[str, Sequence[str]] = {
        "Files that do not decode": [f"{path}: {why}" for path, why in report.undecodable.items()],
        "Rows of the table without a photo": report.rows_without_file,
        "Passed over: photos and folders where the layout has none": report.passed_over,
        "Groups of files with the same bytes": _named(report.exact_copies),
        "Groups of photos that look the same": _named(report.near_copies),
        "Groups of copies in more than one class": conflicts,
        "Photos left out, as the layout has copies in another part": report.dropped,
        "Classes of which nothing is held out": _unsplit(report),
    }
    for title, lines in lists.items():
        console.print(f"[bold]{title}: {len(lines):,}[/]" if lines else f"{title}: none")
        for line in lines[:_SHOWN]:
            console.print(f"  {_text(line)}", overflow="ellipsis", no_wrap=True)
        if len(lines) > _SHOWN:
            console.print(f"  [dim]and {len(lines) - _SHOWN:,} more; --json lists all[/]")
    console.print("[bold]Both learned from and judged by[/]")
    for title, crossing in (
        ("with this split", report.crossing),
        ("were single photos dealt out", report.crossing_by_photo),
    ):
        console.print(
            f"  {title}: {crossing.copies:,} groups of copies, {crossing.animals:,} animals"
        )


def _unsplit(report: DataReport) -> list[str]:
    """With why: one without photos can never be answered with, and should be removed."""
    counts = {count.name: count for count in report.classes}

    def why(count: ClassCount) -> str:
        if count.decodable:
            return "too small"
        return "no photo that decodes" if count.total else "no photo"

    return [f"{name}: {why(counts[name])}" for name in report.unsplit]


def _named(groups: Iterable[Copies]) -> list[str]:
    return [_joined(group) for group in groups]


def _joined(group: Copies) -> str:
    return ", ".join(group.paths)


def _size(size: PhotoSize) -> str:
    return f"{size.width} x {size.height} px: {_text(size.path)}"


def _text(text: str) -> str:
    """Safe to print: what could be taken for markup, too."""
    return escape(printable(text))
