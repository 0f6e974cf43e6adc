"""Rows as a table on the terminal, and a progress bar on standard error."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

_LARGE = 1e15
"""Numbers from here on have more digits than a float is exact to."""


def print_rows(rows: Sequence[dict[str, Any]], title: str | None = None) -> None:
    """One line per mapping, one column per key, numbers to the right; rows with other keys get a table of their own."""
    for keys, group in groupby(rows, key=_keys):
        alike = list(group)
        table = Table(title=title, title_justify="left")
        for key in keys:
            right = isinstance(alike[0][key], int | float)
            table.add_column(key, justify="right" if right else "left", no_wrap=True)
        for row in alike:
            table.add_row(*(_shown(value) for value in row.values()))
        # A pipe has no width: let no column be cut there.
        console = Console()
        (console if console.is_terminal else Console(width=max(80, 40 * len(keys)))).print(table)


def _keys(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < _LARGE else f"{value:,.4g}"
    return "" if value is None else str(value)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left; call what it yields with (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True))
    task: TaskID | None = None  # nothing to do shows nothing

    def advance(done: int, total: int) -> None:
        nonlocal task
        if task is None:
            progress.start()
            task = progress.add_task(what, total=total)
        progress.update(task, completed=done, total=total)

    try:
        yield advance
    finally:
        if task is not None:
            progress.stop()
