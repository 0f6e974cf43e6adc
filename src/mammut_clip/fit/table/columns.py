"""Columns of a results table: our names for them, and numbers out of them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_rows import RowSpec

ROW = "table_row"
"""Column that keeps each row's name in its file, for messages."""
CLOCKS = ("checkpoint_samples", "samples_seen")
"""Columns that may hold the samples seen at which a row was measured; the first that is there does."""

CONSTANT = "const"
"""The `schedule` whose every checkpoint is as good as a run that was planned to end there."""


def require_columns(frame: pd.DataFrame, columns: Sequence[str], source: str) -> None:
    """InputError, with the nearest names, for columns that are not there."""
    have = [str(c) for c in frame.columns if c != ROW]
    for column in columns:
        if column not in have:
            raise InputError(f"{source}: no column {column!r}; {nearest(column, have)}")


def numbers(frame: pd.DataFrame, column: str, source: str) -> pd.Series:
    """A column as finite float64; InputError names the rows that are not numbers."""
    values = as_numbers(frame[column])
    bad = ~np.isfinite(values)
    if bad.any():
        rows = frame[ROW] if ROW in frame else frame.index.to_series().astype(str).radd("row ")
        raise InputError(f"{source}: {column} is not a finite number: {name_rows(rows[bad], frame[column][bad])}")
    return values


def as_numbers(column: pd.Series) -> pd.Series:
    """A column as float64, NaN for what is not a number."""
    return pd.to_numeric(column, errors="coerce").astype("float64")


def with_row_names(frame: pd.DataFrame, word: str, first: int) -> pd.DataFrame:
    """The frame with the name of each row: `line 2`, `line 3`, ..."""
    names: list[str] = [f"{word} {first + i}" for i in range(len(frame))]
    return frame.assign(**{ROW: names})


def renamed(table: pd.DataFrame, columns: dict[str, str], source: str) -> pd.DataFrame:
    """A table under our column names. Raises InputError for columns that are not there, and for a column of GFLOPs of
    one convention named as the other's."""
    require_columns(table, list(columns.values()), source)
    frame = table.copy(deep=False)
    # One column may serve as two of ours (model and run, say); none of ours may stand twice.
    values = {ours: table[theirs] for ours, theirs in columns.items()}
    taken = [c for c in frame.columns if c in set(columns.values()) | set(columns)]
    frame = frame.drop(columns=taken).assign(**values)
    if ROW not in frame:
        frame = with_row_names(frame, "row", 0)
    return frame.reset_index(drop=True)


def with_joined(frame: pd.DataFrame, joined: dict[str, tuple[str, ...]], source: str) -> pd.DataFrame:
    """The frame with the columns of `joined` in a spec; empty where one of their parts is. InputError for missing
    parts and for a name that is taken."""
    for name, parts in joined.items():
        if name in frame:
            raise InputError(f"{source}: joined: the table has a column {name!r} already; take another name")
        require_columns(frame, parts, source)
        text = frame[parts[0]].astype(str)
        for part in parts[1:]:
            text = text + " " + frame[part].astype(str)
        frame = frame.assign(**{name: text.where(frame[list(parts)].notna().all(axis=1))})
    return frame


def clock_of(frame: pd.DataFrame) -> str:
    """The column of samples seen at which each row was measured."""
    return next((c for c in CLOCKS if c in frame), CLOCKS[-1])


def x_column(frame: pd.DataFrame, spec: RowSpec) -> str:
    """The column that the error is a function of."""
    return clock_of(frame) if spec.x == "samples_seen" else spec.x


def name_rows(rows: pd.Series, values: pd.Series) -> str:
    """The first eight rows of a message with their values, and how many more there are."""
    pairs = [f"{row} ({value})" for row, value in zip(rows, values, strict=True)]
    return ", ".join(pairs[:8]) + (f" and {len(pairs) - 8} more" if len(pairs) > 8 else "")
