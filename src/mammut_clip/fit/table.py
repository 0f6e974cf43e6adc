"""A results table -> the rows one spec means, with an error column, and an account of what was left out.

Comes in: results.parquet of a sweep (one row per run, checkpoint, task and metric), or any CSV or Parquet
whose columns the spec names. Goes out: one row per point, with `x` and `error` beside the table's own
columns.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import Filter, LawSpec, UnitName
from mammut_clip.runs import table as runs

ROW = "table_row"
"""Column that keeps each row's name in its file, for messages."""
_IDENTITY = ["sweep", "run", "checkpoint_samples", "task", "metric"]


@dataclass(frozen=True)
class FilterCount:
    """One step of the selection and what it removed."""

    step: str
    removed: int
    left: int


@dataclass(frozen=True)
class Selection:
    """The points of a spec."""

    points: pd.DataFrame
    """The table's columns plus `x` and `error`, both float64, and the row's name in its file."""
    counts: tuple[FilterCount, ...]


def read_table(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file, or a sweep's folder (collected anew from its runs), with the name of each row.

    Raises InputError where it is none of these.
    """
    if path.is_dir():
        return _named(runs.read(path), "row", 0)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif suffix in {".csv", ".tsv"}:
            frame = pd.read_csv(path, sep="\t" if suffix == ".tsv" else ",")
        else:
            raise InputError(f"{path}: expected a .csv, .tsv or .parquet file")
    except (OSError, ValueError) as error:  # pandas' and pyarrow's own errors are ValueErrors
        raise InputError(f"{path}: cannot be read as {suffix[1:]}: {str(error).splitlines()[0]}") from error
    # Line 1 of a text table is its header; a Parquet file has no lines.
    return _named(frame, "row", 0) if suffix == ".parquet" else _named(frame, "line", 2)


def select(table: pd.DataFrame, spec: LawSpec, source: str) -> Selection:
    """The rows of a table that a spec means. Raises InputError for missing columns, and for bad values by
    row."""
    frame = _renamed(table, spec, source)
    require_columns(frame, _needed(spec), source)
    counts: list[FilterCount] = []

    def keep(mask: pd.Series, step: str) -> None:
        nonlocal frame
        kept = frame[mask]
        counts.append(FilterCount(step, len(frame) - len(kept), len(kept)))
        if kept.empty and not frame.empty:
            raise InputError(f"{source}: no row is left after '{step}'; before it there were {len(frame)}")
        frame = kept

    counts.append(FilterCount("rows read", 0, len(frame)))
    if frame.empty:
        raise InputError(f"{source}: the table has no rows")
    for column, wanted in (("task", spec.task), ("metric", spec.metric)):
        if wanted is not None:
            known = sorted(frame[column].astype(str).unique())
            if wanted not in known:
                raise InputError(f"{source}: no row has {column} = {wanted!r}; {nearest(wanted, known)}")
            keep(frame[column] == wanted, f"{column} = {wanted}")
        elif column in frame and frame[column].nunique() > 1:
            several = ", ".join(sorted(frame[column].astype(str).unique())[:8])
            raise InputError(
                f"{source}: the table has several {column}s ({several}); the spec must name one as {column}"
            )
    if spec.groups is not None:
        keep(frame[spec.group].isin(spec.groups), f"{spec.group} in {', '.join(spec.groups)}")
    for condition in spec.filters:
        require_columns(frame, [condition.column], source)
        keep(*_condition(frame, condition))
    if "checkpoint_samples" in frame:
        if spec.checkpoints == "final":
            require_columns(frame, ["samples_seen"], source)
            keep(_final(frame), "final checkpoint of a finished run")
        else:
            frame = frame.assign(samples_seen=frame["checkpoint_samples"])
    return Selection(_checked(frame, spec, source), tuple(counts))


def to_error(value: pd.Series, unit: UnitName, rows: pd.Series, source: str) -> pd.Series:
    """Error of a metric's values in a stated unit; InputError, by row, for values outside the unit's
    range."""
    top = {"accuracy": 1.0, "percent": 100.0, "error": np.inf}[unit]
    bad = (value < 0) | (value > top)
    if bad.any():
        hint = "; is it percent?" if unit == "accuracy" else ""
        limit = "0 or more" if unit == "error" else f"between 0 and {top:g}"
        raise InputError(f"{source}: unit: {unit} means values {limit}{hint}, found {_rows(rows[bad], value[bad])}")
    return value if unit == "error" else 1.0 - value / top


def numbers(frame: pd.DataFrame, column: str, source: str) -> pd.Series:
    """A column as finite float64; InputError names the rows that are not numbers."""
    values = pd.to_numeric(frame[column], errors="coerce").astype("float64")
    bad = ~np.isfinite(values)
    if bad.any():
        rows = frame[ROW] if ROW in frame else frame.index.to_series().astype(str).radd("row ")
        raise InputError(f"{source}: {column} is not a finite number: {_rows(rows[bad], frame[column][bad])}")
    return values


def require_columns(frame: pd.DataFrame, columns: list[str], source: str) -> None:
    """InputError, with the nearest names, for columns that are not there."""
    have = [str(c) for c in frame.columns if c != ROW]
    for column in columns:
        if column not in have:
            raise InputError(f"{source}: no column {column!r}; {nearest(column, have)}")


def _named(frame: pd.DataFrame, word: str, first: int) -> pd.DataFrame:
    return frame.assign(**{ROW: [f"{word} {first + i}" for i in range(len(frame))]})


def _needed(spec: LawSpec) -> list[str]:
    cell = ["model", "samples_seen"] if spec.frontier.method == "best_per_cell" else []
    named = [c for c, wanted in (("task", spec.task), ("metric", spec.metric)) if wanted is not None]
    x = [] if spec.x == "samples_seen" else [spec.x]
    return [*x, "value", spec.group, *cell, *named]


def _renamed(table: pd.DataFrame, spec: LawSpec, source: str) -> pd.DataFrame:
    require_columns(table, list(spec.columns.values()), source)
    # A column of ours that the spec fills from elsewhere must not stand twice.
    shadowed = [ours for ours, theirs in spec.columns.items() if ours in table.columns and ours != theirs]
    frame = table.drop(columns=shadowed).rename(columns={theirs: ours for ours, theirs in spec.columns.items()})
    if ROW not in frame:
        frame = _named(frame, "row", 0)
    return frame.reset_index(drop=True)


def _condition(frame: pd.DataFrame, condition: Filter) -> tuple[pd.Series, str]:
    column = frame[condition.column]
    mask, words = pd.Series(True, index=frame.index), []
    if condition.equals is not None:
        mask &= column == condition.equals
        words.append(f"= {condition.equals}")
    if condition.one_of is not None:
        mask &= column.isin(condition.one_of)
        words.append("in " + ", ".join(map(str, condition.one_of)))
    if condition.at_least is not None:
        mask &= column >= condition.at_least
        words.append(f">= {condition.at_least:g}")
    if condition.at_most is not None:
        mask &= column <= condition.at_most
        words.append(f"<= {condition.at_most:g}")
    return mask, f"{condition.column} {' and '.join(words)}"


def _final(frame: pd.DataFrame) -> pd.Series:
    # A budget need not be a multiple of the batch: the last step may stop up to one batch short of it.
    slack = frame["global_batch_size"] - 1 if "global_batch_size" in frame else 0
    return frame["checkpoint_samples"] >= frame["samples_seen"] - slack


def _checked(frame: pd.DataFrame, spec: LawSpec, source: str) -> pd.DataFrame:
    clock = "checkpoint_samples" if "checkpoint_samples" in frame else "samples_seen"
    x_column = clock if spec.x == "samples_seen" else spec.x
    require_columns(frame, [x_column], source)
    x = numbers(frame, x_column, source)
    if (x <= 0).any():
        raise InputError(f"{source}: {x_column} must be positive: {_rows(frame[ROW][x <= 0], x[x <= 0])}")
    identity = [c for c in _IDENTITY if c in frame]
    if "run" in identity and frame.duplicated(identity).any():
        twice = frame[frame.duplicated(identity, keep=False)]
        raise InputError(f"{source}: the same {' + '.join(identity)} stands twice: {_rows(twice[ROW], twice['run'])}")
    if frame[spec.group].isna().any():
        missing = frame[frame[spec.group].isna()]
        raise InputError(f"{source}: {spec.group} is empty: {_rows(missing[ROW], missing[spec.group])}")
    error = to_error(numbers(frame, "value", source), spec.unit, frame[ROW], source)
    return frame.assign(x=x, error=error).reset_index(drop=True)


def _rows(rows: pd.Series, values: pd.Series) -> str:
    pairs = [f"{row} ({value})" for row, value in zip(rows, values, strict=True)]
    return ", ".join(pairs[:8]) + (f" and {len(pairs) - 8} more" if len(pairs) > 8 else "")
