"""The rows of a table that a spec means, step by step, with how many each step removed."""

from dataclasses import dataclass

import pandas as pd
from pandas.api.types import is_numeric_dtype

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_rows import RowSpec
from mammut_clip.fit.table.checks import Fault, error_of, faults, not_a_number, refuse, to_error
from mammut_clip.fit.table.columns import CONSTANT, ROW, as_numbers, renamed, require_columns, with_joined, x_column
from mammut_clip.fit.table.conditions import meets, meets_all
from mammut_clip.fit.table.convention import check_columns, check_rows


@dataclass(frozen=True)
class FilterCount:
    """One step of the selection and what it removed."""

    step: str
    removed: int
    left: int
    rows: tuple[str, ...] = ()
    """Names of the rows it removed, where they could not be used."""

    def __str__(self) -> str:
        """The step with the first eight of these names."""
        more = f" and {len(self.rows) - 8} more" if len(self.rows) > 8 else ""
        return self.step + (f": {', '.join(self.rows[:8])}{more}" if self.rows else "")


@dataclass(frozen=True)
class Selection:
    """The points of a spec."""

    points: pd.DataFrame
    """The table's columns plus `x` and `error`, both float64, and the row's name in its file."""
    counts: tuple[FilterCount, ...]


def select(table: pd.DataFrame, spec: RowSpec, source: str) -> Selection:
    """The rows of a table (`load_table`) that a spec means. Raises InputError for missing columns, for rows that
    cannot be used, by name, and for GFLOPs of two conventions in one law."""
    steps = _Steps(_prepared(table, spec, source), source)
    for column, wanted in (("task", spec.task), ("metric", spec.metric)):
        _keep_one(steps, column, wanted)
    if spec.groups is not None:
        _keep_groups(steps, spec.group, spec.groups)
    for condition in spec.filters:
        steps.keep(*meets(steps.frame, condition, source))
    for conditions in spec.drop_where:
        mask, said = meets_all(steps.frame, conditions, source)
        steps.keep(~mask, f"not ({said})")
    _keep_checkpoints(steps, spec)
    for check in faults(spec):
        steps.without(check(steps.frame), drop=spec.bad_rows == "drop")
    frame = steps.frame
    check_rows(frame, spec.x, source)
    error = to_error(as_numbers(frame["value"]), spec.unit, frame[ROW], source)
    if "samples_seen" in frame and not is_numeric_dtype(frame["samples_seen"]):  # text stood in a row that was dropped
        frame = frame.assign(samples_seen=as_numbers(frame["samples_seen"]))
    return Selection(frame.assign(error=error).reset_index(drop=True), tuple(steps.counts))


class _Steps:
    """The rows that are left, and the account of those that are not."""

    def __init__(self, frame: pd.DataFrame, source: str) -> None:
        if frame.empty:
            raise InputError(f"{source}: the table has no rows")
        self.frame, self.source = frame, source
        self.counts = [FilterCount("rows read", 0, len(frame))]

    def keep(self, mask: pd.Series, step: str, *, name_rows: bool = False) -> None:
        """Keep the rows of a mask. InputError where none is left."""
        kept = self.frame[mask]
        gone = tuple(self.frame[ROW][~mask]) if name_rows else ()
        self.counts.append(FilterCount(step, len(self.frame) - len(kept), len(kept), gone))
        if kept.empty:
            raise InputError(f"{self.source}: no row is left after '{step}'; before it there were {len(self.frame)}")
        self.frame = kept

    def without(self, fault: Fault, *, drop: bool) -> None:
        """Refuse rows that cannot be used, or leave them out and name them."""
        if fault.bad.any() and not drop:
            refuse(fault, self.frame[ROW], self.source)
        if fault.bad.any():
            self.keep(~fault.bad, f"bad rows: {fault.said}", name_rows=True)


def _prepared(table: pd.DataFrame, spec: RowSpec, source: str) -> pd.DataFrame:
    """The table under our names with `x` and `error`, both NaN where they cannot be told yet, for filters."""
    if spec.tables:
        if spec.table_column not in table:
            raise InputError(f"{source}: the spec reads several tables ({', '.join(spec.tables)}), found one")
        frame = table.reset_index(drop=True)
    else:
        check_columns(spec.columns, source)
        frame = renamed(table, spec.columns, source)
    frame = with_joined(frame, spec.joined, source)
    x = x_column(frame, spec)
    require_columns(frame, [x, "value", spec.group, *_needed(spec)], source)
    if spec.compute_unit == "FLOP":
        counted = as_numbers(frame[x])
        frame = frame.assign(**{x: frame[x].where(counted.isna(), counted * 1e-9)})  # text stays, for the message
    return frame.assign(x=as_numbers(frame[x]), error=error_of(as_numbers(frame["value"]), spec.unit))


def _needed(spec: RowSpec) -> list[str]:
    named = [column for column, wanted in (("task", spec.task), ("metric", spec.metric)) if wanted is not None]
    return named if spec.constant_training is None else [*named, "schedule", *spec.constant_training]


def _keep_one(steps: _Steps, column: str, wanted: str | None) -> None:
    """Keep the task or metric that the spec names; one of several must be named."""
    if wanted is not None:
        known = sorted(steps.frame[column].astype(str).unique())
        if wanted not in known:
            raise InputError(f"{steps.source}: no row has {column} = {wanted!r}; {nearest(wanted, known)}")
        steps.keep(steps.frame[column] == wanted, f"{column} = {wanted}")
    elif column in steps.frame and steps.frame[column].nunique() > 1:
        several = ", ".join(sorted(steps.frame[column].astype(str).unique())[:8])
        raise InputError(
            f"{steps.source}: the table has several {column}s ({several}); the spec must name one as {column}"
        )


def _keep_groups(steps: _Steps, column: str, groups: tuple[str, ...]) -> None:
    """Keep the groups that the spec names; each must be there."""
    labels = steps.frame[column].astype(str)
    known = sorted(labels.unique())
    for group in groups:
        if group not in known:
            raise InputError(f"{steps.source}: groups: no row has {column} = {group}; {nearest(group, known)}")
    steps.keep(labels.isin(groups), f"{column} in {', '.join(groups)}")


def _keep_checkpoints(steps: _Steps, spec: RowSpec) -> None:
    """Keep the checkpoints that the spec means; from here on a row's samples seen are those of its checkpoint, where
    it counts as a run of its own."""
    if "checkpoint_samples" not in steps.frame:
        return
    needed = ["checkpoint_samples"] if spec.checkpoints == "all" else ["checkpoint_samples", "samples_seen"]
    require_columns(steps.frame, needed, steps.source)
    for column in needed:
        steps.without(not_a_number(steps.frame, column), drop=spec.bad_rows == "drop")
    if spec.checkpoints != "final" and "warmup" in steps.frame:
        after = as_numbers(steps.frame["checkpoint_samples"]) > as_numbers(steps.frame["warmup"]).fillna(0)
        steps.keep(after, "checkpoints after warm-up")
    frame = steps.frame
    if spec.checkpoints == "all":
        steps.frame = frame.assign(samples_seen=frame["checkpoint_samples"])
        return
    # A budget need not be a multiple of the batch: the last step may stop up to one batch short of it.
    slack = as_numbers(frame["global_batch_size"]).fillna(1) - 1 if "global_batch_size" in frame else 0
    final = as_numbers(frame["checkpoint_samples"]) >= as_numbers(frame["samples_seen"]) - slack
    if spec.checkpoints == "final":
        steps.keep(final, "final checkpoint of a finished run")
        return
    require_columns(frame, ["schedule"], steps.source)
    constant = frame["schedule"] == CONSTANT
    steps.frame = frame.assign(samples_seen=frame["samples_seen"].where(~constant | final, frame["checkpoint_samples"]))
    steps.keep(constant | final, f"every checkpoint where schedule = {CONSTANT}, else the final one")
