"""What the commands print: for a terminal, and for grep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def as_it_is(text: str) -> Text:
    """Without rich's markup, and without what a terminal would obey or cannot show."""
    return Text("".join(each if each.isprintable() else "\ufffd" for each in text))


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows, each cell as it is."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(as_it_is(str(cell)) for cell in row))
    # As wide as it is: a terminal's width would cut off what somebody looks for with grep.
    Console(width=200, highlight=False).print(table)
