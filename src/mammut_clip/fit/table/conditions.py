"""Filters of a spec as masks over rows, with the words that the account of the selection uses."""

import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_rows import Filter
from mammut_clip.fit.table.columns import as_numbers, require_columns

Condition = tuple[pd.Series, str]
"""Mask of the rows that meet it, and how it reads."""


def meets(frame: pd.DataFrame, condition: Filter, source: str) -> Condition:
    """The rows that meet a filter; an empty cell meets none. InputError for a column that is not there, and for
    text that is to be compared with a number."""
    require_columns(frame, [condition.column], source)
    column = frame[condition.column]
    _same_kind(column, condition, source)
    mask, words = column.notna(), []
    if condition.equals is not None:
        mask &= column == condition.equals
        words.append(f"= {condition.equals}")
    for chosen, wanted, said in ((condition.one_of, True, "in"), (condition.none_of, False, "not in")):
        if chosen is not None:
            mask &= column.isin(chosen) == wanted
            words.append(f"{said} {', '.join(map(str, chosen))}")
    for limit, compare, sign in (
        (condition.at_least, pd.Series.ge, ">="),
        (condition.at_most, pd.Series.le, "<="),
        (condition.above, pd.Series.gt, ">"),
        (condition.below, pd.Series.lt, "<"),
    ):
        if limit is not None:
            mask &= compare(_numeric(column, condition.column, source), limit)
            words.append(f"{sign} {limit:g}")
    return mask, f"{condition.column} {' and '.join(words)}"


def meets_all(frame: pd.DataFrame, conditions: tuple[Filter, ...], source: str) -> Condition:
    """The rows that meet every one of several filters."""
    mask, words = pd.Series(True, index=frame.index), []
    for condition in conditions:
        one, said = meets(frame, condition, source)
        mask &= one
        words.append(said)
    return mask, " and ".join(words)


def _same_kind(column: pd.Series, condition: Filter, source: str) -> None:
    """A number never equals a text, so such a condition would keep or drop everything unseen."""
    wanted = [*(condition.one_of or ()), *(condition.none_of or ())]
    wanted += [] if condition.equals is None else [condition.equals]
    text = next((value for value in wanted if isinstance(value, str)), None)
    if text is not None and pd.api.types.is_numeric_dtype(column):
        raise InputError(f"{source}: filters: {condition.column} holds numbers, and {text!r} is text: write it out")


def _numeric(column: pd.Series, name: str, source: str) -> pd.Series:
    values = as_numbers(column)
    if values.isna().all() and column.notna().any():
        raise InputError(f"{source}: filters: {name} holds text ({column.dropna().iloc[0]!r}), no numbers to compare")
    return values
