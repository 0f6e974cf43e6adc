"""Tables -> files, and plain values for --json."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mammut_clip.config.atomic import write_text
from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.runs.overview.page import to_html
from mammut_clip.runs.overview.pivot import OverviewTable
from mammut_clip.runs.overview.text import to_csv, to_latex, to_markdown, to_wide_csv

FORMATS: dict[str, dict[str, Callable[[Sequence[OverviewTable]], str]]] = {
    "csv": {"overview.csv": to_csv, "overview-wide.csv": to_wide_csv},
    "md": {"overview.md": to_markdown},
    "tex": {"overview.tex": to_latex},
    "html": {"overview.html": to_html},
}
"""Format -> the files that it makes."""


def write_tables(tables: Sequence[OverviewTable], folder: Path, formats: Sequence[str] = tuple(FORMATS)) -> list[Path]:
    """Write all tables in each format, every file whole or not at all; the same tables make the same bytes.

    Raises InputError for an unknown format, before anything is written.
    """
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"format {name!r}: expected some of {', '.join(FORMATS)}; {nearest(name, list(FORMATS))}")
    written = {folder / file: make for name in formats for file, make in FORMATS[name].items()}
    for path, make in written.items():
        write_text(path, make(tables))
    return list(written)


def to_json(tables: Sequence[OverviewTable]) -> list[dict[str, Any]]:
    """One object per table: its names, models, samples, values as measured, numbers of recipes, bold mask."""
    return [
        {
            "task": table.task,
            "metric": table.metric,
            "dataset": table.dataset,
            "schedule": table.schedule,
            "family": table.family,
            "models": list(table.rows),
            "samples": list(table.columns),
            "values": [[cell and cell.value for cell in row] for row in table.cells],
            "recipes": [[cell.runs if cell else 0 for cell in row] for row in table.cells],
            "runs": [[cell and cell.run for cell in row] for row in table.cells],
            "best": [list(row) for row in table.bold],
        }
        for table in tables
    ]
