"""Tables of the commands, for a terminal and for grep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows, without rich's markup, and without what a terminal would obey."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, no_wrap=True)
    for row in rows:
        cells = ("".join(c if c.isprintable() else "\ufffd" for c in str(cell)) for cell in row)
        table.add_row(*map(Text, cells))
    # As wide as it is: a terminal's width would cut off what somebody looks for with grep.
    Console(width=200, highlight=False).print(table)
