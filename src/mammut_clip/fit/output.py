"""What a fit of any kind leaves behind: one JSON document, points as CSV, tables as Markdown, CSV and LaTeX, figures as
PDF and PNG.

The same outputs give the same bytes: no file holds a date, a path or the name of this machine.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from mammut_clip.config.atomic import write_text
from mammut_clip.config.errors import InputError
from mammut_clip.fit.style import Theme, save_figure
from mammut_clip.fit.tables import Table, to_csv, to_latex, to_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw: TypeAlias = "Callable[[Theme], Figure]"
"""Draws a figure in the colours of a theme."""


@dataclass(frozen=True)
class Outputs:
    """A report of any kind, ready to be printed and written. Names are the stems of files."""

    title: str
    """Of the spec; empty where it has none."""
    json: dict[str, Any]
    """The whole report as plain JSON values, without infinities or NaN."""
    tables: dict[str, Table]
    """In the order in which they are printed."""
    figures: dict[str, Draw]
    sentences: tuple[str, ...] = ()
    """What the data support, and warnings, in plain words."""
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Data behind the figures, for users' own plots."""


def check_folder(out: Path) -> None:
    """Raise InputError where no folder `out` could be made or written into: said before the work, not after it."""
    there = next(p for p in (out, *out.absolute().parents) if os.path.lexists(p))
    if not there.is_dir():
        raise InputError(f"{out}: cannot be written to: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{out}: cannot be written to: no permission to write in {there}")


def write_outputs(outputs: Outputs, out: Path) -> None:
    """Write every file into the folder `out`, which is made where it is missing: fit.json, <table>.md, .csv and .tex,
    <figure>.pdf and .png, <frame>.csv. Raises InputError where they cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written to: {error.strerror}") from error
    write_text(out / "fit.json", json.dumps(outputs.json, indent=2, allow_nan=False) + "\n")
    for name, frame in outputs.frames.items():
        write_text(out / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))
    for name, table in outputs.tables.items():
        for suffix, written in (("md", to_markdown), ("csv", to_csv), ("tex", to_latex)):
            write_text(out / f"{name}.{suffix}", written(table))
    for name, draw in outputs.figures.items():
        save_figure(draw, out / name)
