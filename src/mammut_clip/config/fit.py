"""The law spec: which rows of a results table, which metric, which form, and what is held out to score it.

One spec fits one law per group (usually per family) and predicts the held-out runs of each. The files are in
fit/.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mammut_clip.config.base import Config

FormName = Literal["power", "saturation", "saturation_no_floor"]
ResidualName = Literal["raw", "log"]
UnitName = Literal["accuracy", "percent", "error"]
XName = Literal["gflops_paper", "gflops_exact", "samples_seen"]
FrontierName = Literal["all", "best_per_cell", "bins", "non_dominated"]
BootstrapName = Literal["residual", "case"]


class Filter(Config):
    """Keep the rows whose value in one column meets every condition given here."""

    column: str
    """Column of the results table (after `columns` of the spec has renamed it)."""
    equals: str | float | None = None
    """The value is this."""
    one_of: tuple[str | float, ...] | None = None
    """The value is one of these."""
    at_least: float | None = None
    """The value is this or more."""
    at_most: float | None = None
    """The value is this or less."""

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if all(v is None for v in (self.equals, self.one_of, self.at_least, self.at_most)):
            raise ValueError("expected at least one of equals, one_of, at_least, at_most")
        return self


class HeldOut(Config):
    """Which points the fit does not see; exactly one of the three. Decided within each group."""

    above: Annotated[float, Field(gt=0)] | None = None
    """Points with an x (compute or samples) larger than this."""
    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """This share of the group's cells (model x samples seen), rounded up: those with the largest x."""
    largest: Annotated[int, Field(ge=1)] | None = None
    """This many of the group's cells: those with the largest x. Ties with the last of them are held out
    too."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(v is not None for v in (self.above, self.fraction, self.largest)) != 1:
            raise ValueError("expected exactly one of above, fraction, largest")
        return self


class Frontier(Config):
    """Which of the points a law is fitted to."""

    method: FrontierName = "non_dominated"
    """all: every row. best_per_cell: the lowest error of each model x samples seen. bins: the lowest error of
    each geometric bin of x, then only strictly decreasing ones. non_dominated: rows that none with less x
    beats."""
    bin_factor: Annotated[float, Field(gt=1)] | None = None
    """Ratio of the upper to the lower edge of a bin; for `bins` only, 2 where it is not given."""

    @model_validator(mode="after")
    def _bins_only(self) -> Self:
        if self.bin_factor is not None and self.method != "bins":
            raise ValueError(f"bin_factor belongs to method: bins, not to {self.method}")
        return self


class BootstrapConfig(Config):
    """How the uncertainty of a law is drawn."""

    method: BootstrapName = "residual"
    """residual: refit to the law plus redrawn residuals. case: refit to points drawn with replacement."""
    count: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Number of refits."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the draws; the same seed gives the same interval."""


class LawSpec(Config):
    """One law per group, fitted to part of a results table and scored on the rest."""

    title: str = ""
    """Shown above figures and tables."""
    table: str | None = None
    """Path of a CSV or Parquet table or of a sweep's folder, where none is given on the command line."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our column name -> the table's, for tables that are not results.parquet of a sweep; for example
    {gflops_paper: gflops_total, value: imagenet1k_acc1}."""
    task: str | None = None
    """Keep rows of this task; needed where the table has several."""
    metric: str | None = None
    """Keep rows of this metric; needed where the table has several."""
    unit: UnitName
    """What `value` is: accuracy (0 to 1), percent (accuracy, 0 to 100) or error (fitted as it is)."""
    x: XName = "gflops_paper"
    """What the error is a function of. The two FLOP conventions are never mixed in one law."""
    group: str = "family"
    """One law for each value of this column."""
    groups: tuple[str, ...] | None = None
    """Only these groups, in this order; all, by name, where it is not given."""
    checkpoints: Literal["final", "all"] = "final"
    """final: the last checkpoint of each finished run. all: every checkpoint, compute counted up to it (right
    for constant schedules only: before its end a cosine run is worse than one planned to stop there)."""
    filters: tuple[Filter, ...] = ()
    """Applied in this order; the report says how many rows each removed."""
    frontier: Frontier = Frontier()
    """Which points the law is fitted to."""
    form: FormName = "saturation"
    """power: a x^c. saturation_no_floor: a (x + b)^c. saturation: a (x + b)^c + d."""
    residuals: ResidualName = "raw"
    """raw: squares of y - f(x), as in the paper. log: squares of log y - log f(x), relative errors count
    alike."""
    held_out: HeldOut | None = None
    """Points kept from the fit and predicted by it; none where this is not given."""
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Probability that a prediction interval is meant to contain the measurement."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """How intervals are made."""
