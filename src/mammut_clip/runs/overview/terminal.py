"""Tables on the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mammut_clip.runs.overview.pivot import OverviewTable


def print_tables(tables: Sequence[OverviewTable], console: Console | None = None) -> None:
    """Every table with its title above and how to read it below."""
    for table in tables:
        out = console or _wide_enough(table)
        out.print(Text(table.title), soft_wrap=True)
        out.print(_drawn(table))
        out.print(Text(table.caption, style="dim"), soft_wrap=True)
        out.print()


def _drawn(table: OverviewTable) -> Table:
    drawn = Table(header_style="")  # bold is for maxima
    drawn.add_column("model", no_wrap=True)
    for heading in table.headings:
        drawn.add_column(heading, justify="right", no_wrap=True)
    for model, cells, bold in zip(table.rows, table.cells, table.bold, strict=True):
        shown = [Text(table.text(cell), style="bold" * best) for cell, best in zip(cells, bold, strict=True)]
        drawn.add_row(Text(model), *shown)
    return drawn


def _wide_enough(table: OverviewTable) -> Console:
    """A pipe has no width: let no column be cut there."""
    console = Console()
    return console if console.is_terminal else Console(width=max(100, 40 + 12 * len(table.columns)))
