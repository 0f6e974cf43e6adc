"""Rows that cannot be used: refused by name, or left out and named in the account, as the spec says."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_rows import RowSpec, UnitName
from mammut_clip.fit.table.columns import ROW, as_numbers, name_rows, x_column

_IDENTITY = ["sweep", "run", "checkpoint_samples", "task", "metric"]


@dataclass(frozen=True)
class Fault:
    """One thing that can be wrong with rows."""

    said: str
    bad: pd.Series
    """Mask of the rows that are at fault and would be left out."""
    shown: pd.Series
    """What stands there."""
    named: pd.Series
    """Mask of the rows that a refusal names: those at fault and, of rows that stand twice, the first too."""


def faults(spec: RowSpec) -> tuple[Callable[[pd.DataFrame], Fault], ...]:
    """The checks of a spec, in order; each takes the rows that those before it left."""

    def x_is_a_number(frame: pd.DataFrame) -> Fault:
        return not_a_number(frame, x_column(frame, spec))

    def x_is_positive(frame: pd.DataFrame) -> Fault:
        column = x_column(frame, spec)
        return _fault(f"{column} must be positive", frame["x"] <= 0, frame["x"])

    def samples_are_numbers(frame: pd.DataFrame) -> Fault:
        return _bad_samples(frame)

    def value_is_a_number(frame: pd.DataFrame) -> Fault:
        return not_a_number(frame, "value")

    def group_is_there(frame: pd.DataFrame) -> Fault:
        return _fault(f"{spec.group} is empty", frame[spec.group].isna(), frame[spec.group])

    def stands_once(frame: pd.DataFrame) -> Fault:
        return _twice(frame, spec)

    return x_is_a_number, x_is_positive, samples_are_numbers, value_is_a_number, group_is_there, stands_once


def not_a_number(frame: pd.DataFrame, column: str) -> Fault:
    """The rows that have no finite number in a column."""
    return _fault(f"{column} is not a finite number", ~np.isfinite(as_numbers(frame[column])), frame[column])


def refuse(fault: Fault, rows: pd.Series, source: str) -> None:
    """Raise InputError that names the rows of a fault."""
    raise InputError(f"{source}: {fault.said}: {name_rows(rows[fault.named], fault.shown[fault.named])}")


def to_error(value: pd.Series, unit: UnitName, rows: pd.Series, source: str) -> pd.Series:
    """Error of a metric's values in a stated unit; InputError, by row, for values outside the unit's range: they are
    never dropped, since they say that the unit is another one. Percents of which none is above 1 say so too."""
    top = {"accuracy": 1.0, "percent": 100.0, "error": np.inf}[unit]
    bad = (value < 0) | (value > top)
    if bad.any():
        hint = "; is it percent?" if unit == "accuracy" else ""
        limit = "0 or more" if unit == "error" else f"between 0 and {top:g}"
        raise InputError(f"{source}: unit: {unit} means values {limit}{hint}, found {name_rows(rows[bad], value[bad])}")
    if unit == "percent" and value.max() <= 1.0:
        raise InputError(
            f"{source}: unit: percent, and no value is above 1 ({value.max():g} is the largest); is it accuracy?"
        )
    return error_of(value, unit)


def error_of(value: pd.Series, unit: UnitName) -> pd.Series:
    """Error of a metric's values in a stated unit, unchecked."""
    return value if unit == "error" else 1.0 - value / {"accuracy": 1.0, "percent": 100.0}[unit]


def _fault(said: str, bad: pd.Series, shown: pd.Series) -> Fault:
    return Fault(said, bad, shown, bad)


def _bad_samples(frame: pd.DataFrame) -> Fault:
    """Samples seen that are given and are no number; a table need not give them."""
    column = "samples_seen"
    shown = frame[column] if column in frame else pd.Series(index=frame.index, dtype="float64")
    values = as_numbers(shown)
    return _fault(f"{column} is not a positive number", shown.notna() & ~(np.isfinite(values) & (values > 0)), shown)


def _twice(frame: pd.DataFrame, spec: RowSpec) -> Fault:
    """One measurement that stands twice in one law. Runs are told apart by their names; in a table without them two
    rows are one measurement where all their cells agree."""
    if "run" in frame:
        identity = [c for c in _IDENTITY if c in frame]
        said, shown = f"the same {' + '.join(identity)} stands twice", frame["run"]
    else:
        identity = [str(c) for c in frame.columns if c not in (ROW, spec.table_column)]
        said, shown = "the same row stands twice", frame["value"]
    within = [*identity, *([] if spec.group in identity else [spec.group])]
    return Fault(said, frame.duplicated(within), shown, frame.duplicated(within, keep=False))
