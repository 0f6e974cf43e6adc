"""Results tables -> the rows one spec means, with x and error columns, and an account of what was left out.

Comes in: results.parquet of a sweep (one row per run, checkpoint, task and metric), or any CSV or Parquet
whose columns the spec names, or several of them. Goes out: one row per point, with `x` and `error` beside the table's
own columns.

    read.py         files -> one frame, with the name of every row in its file
    columns.py      our names for the table's columns
    convention.py   the two FLOP conventions, kept apart
    conditions.py   filters as masks
    checks.py       rows that cannot be used
    select.py       all of it, in order, with counts
"""

from mammut_clip.fit.table.checks import to_error
from mammut_clip.fit.table.columns import ROW, numbers, require_columns
from mammut_clip.fit.table.read import load_table, read_table
from mammut_clip.fit.table.select import FilterCount, Selection, select

__all__ = [
    "ROW",
    "FilterCount",
    "Selection",
    "load_table",
    "numbers",
    "read_table",
    "require_columns",
    "select",
    "to_error",
]
