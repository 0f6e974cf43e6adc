"""Which rows of which results tables a fit means, and what is fitted against what.

Every kind of spec in fit/ begins with these keys; docs/fitting-data.md shows each of them.
"""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mammut_clip.config.base import Config

UnitName = Literal["accuracy", "percent", "error"]
XName = Literal["gflops_paper", "gflops_exact", "samples_seen"]


class Filter(Config):
    """The rows whose value in one column meets every condition given here. An empty cell meets none."""

    column: str
    """Column of the results table (after `columns` of the spec has renamed it), or one of ours: `x`, `error`."""
    equals: str | float | None = None
    """The value is this."""
    one_of: tuple[str | float, ...] | None = None
    """The value is one of these."""
    none_of: tuple[str | float, ...] | None = None
    """The value is none of these."""
    at_least: float | None = None
    """The value is this or more."""
    at_most: float | None = None
    """The value is this or less."""
    above: float | None = None
    """The value is more than this."""
    below: float | None = None
    """The value is less than this."""

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        conditions = [name for name in type(self).model_fields if name != "column"]
        if all(getattr(self, name) is None for name in conditions):
            raise ValueError(f"expected at least one of {', '.join(conditions)}")
        return self


class TableSource(Config):
    """One of several tables of a spec."""

    path: str | None = None
    """Path of a CSV or Parquet table or of a sweep's folder; null where the command line gives it."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our column name -> this table's; what is not named here is as in `columns` of the spec."""


class RowSpec(Config):
    """The rows of a fit."""

    title: str = ""
    """Shown above figures and tables."""
    table: str | None = None
    """Path of a CSV or Parquet table or of a sweep's folder, where none is given on the command line."""
    tables: dict[str, TableSource] = Field(default_factory=dict)
    """Several tables in place of one, each with a name of yours: {datacomp: a.parquet, relaion: b.parquet}."""
    table_column: str = "table"
    """Column in which the name of a row's table is written, where there are several."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our column name -> the table's, for tables that are not results.parquet of a sweep; for example
    {gflops_paper: gflops_total, value: imagenet1k_acc1}."""
    joined: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """New column -> columns whose values it joins with a space, to group by: {curve: [family, schedule]}."""
    task: str | None = None
    """Keep rows of this task; needed where the table has several."""
    metric: str | None = None
    """Keep rows of this metric; needed where the table has several."""
    unit: UnitName
    """What `value` is: accuracy (0 to 1), percent (accuracy, 0 to 100) or error (fitted as it is)."""
    x: XName = "gflops_paper"
    """What the error is a function of. The two FLOP conventions are never mixed in one law."""
    compute_unit: Literal["GFLOP", "FLOP"] = "GFLOP"
    """What the column of compute counts; conditions, thresholds and reports are in GFLOP."""
    group: str = "family"
    """One law for each value of this column."""
    groups: tuple[str, ...] | None = None
    """Only these groups, in this order; all, by name, where it is not given."""
    checkpoints: Literal["final", "all", "by_schedule"] = "final"
    """final: the last checkpoint of each finished run. all: every checkpoint, compute counted up to it (right
    for constant schedules only: before its end a cosine run is worse than one planned to stop there).
    by_schedule: all of runs whose `schedule` is const, the last of the others. Where the table says the `warmup` (in
    samples seen), checkpoints before its end do not count."""
    filters: tuple[Filter, ...] = ()
    """Rows to keep. Applied in this order; the report says how many rows each removed."""
    drop_where: tuple[Annotated[tuple[Filter, ...], Field(min_length=1)], ...] = ()
    """Rows to drop: those that meet every condition of one of these lists. The paper's rule is
    [[{column: error, at_least: 0.7}, {column: gflops_paper, above: 1.0e11}]]."""
    bad_rows: Literal["refuse", "drop"] = "refuse"
    """What becomes of rows with an x or a value that cannot be used and of rows that stand twice. refuse: an error
    that names them. drop: they are left out, and the report names them."""
    constant_training: tuple[str, ...] | None = None
    """In a table that does not name its runs: columns that together name one training whose `schedule` is const, so
    that its checkpoints, a row each, count as one in what a law cost. Any other row is a training of its own."""

    @property
    def largest_error(self) -> float:
        """Largest value that an error of the unit can have; one that is given as `error` may be a loss, which has
        none."""
        return math.inf if self.unit == "error" else 1.0

    @field_validator("tables", mode="before")
    @classmethod
    def _paths_alone(cls, tables: Any) -> Any:
        if not isinstance(tables, dict):
            return tables
        return {name: {"path": one} if isinstance(one, str) else one or {} for name, one in tables.items()}

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.table is not None and self.tables:
            raise ValueError("expected one of table, tables")
        return self

    @model_validator(mode="after")
    def _compute_is_x(self) -> Self:
        if self.compute_unit != "GFLOP" and self.x == "samples_seen":
            raise ValueError(f"compute_unit: {self.compute_unit} belongs to an x of compute, not to samples_seen")
        return self
