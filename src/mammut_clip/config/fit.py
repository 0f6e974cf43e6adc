"""The law spec: which rows of a results table, which metric, which form, and what is held out to score it.

One spec fits one law per group (usually per family) and predicts the held-out runs of each. The files are in
fit/.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mammut_clip.config.base import Config
from mammut_clip.config.fit_compare import CompareConfig
from mammut_clip.config.fit_points import Frontier, FrontierName
from mammut_clip.config.fit_rows import Filter, RowSpec, TableSource, UnitName, XName

__all__ = [  # with what every kind of spec shares
    "BootstrapConfig",
    "Filter",
    "FormName",
    "Frontier",
    "FrontierName",
    "HeldOut",
    "LawSpec",
    "ResidualName",
    "RowSpec",
    "TableSource",
    "UnitName",
    "XName",
]

SingleFormName = Literal[
    "power", "saturation_no_floor", "saturation", "bounded_no_floor", "bounded", "broken_power", "line"
]
FormName = Literal[SingleFormName, "auto", "average"]
ResidualName = Literal["raw", "log", "logit"]
BootstrapName = Literal["residual", "cells", "runs"]


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


class BootstrapConfig(Config):
    """How the uncertainty of a law is drawn."""

    method: BootstrapName = "residual"
    """residual: refit to the law plus redrawn residuals. cells: draw cells (model x samples seen), each with all its
    runs, with replacement and find the frontier anew. runs: the same with single runs."""
    count: Annotated[int, Field(ge=400, le=100_000)] = 1000
    """Number of refits; of fewer, the ends of an interval lie too far in (docs/fitting.md)."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the draws; the same seed gives the same interval."""


class ExponentPrior(Config):
    """What is known of a law's exponent before a point is seen: log-normal in its size.

    The default covers, with two deviations to each side, 0.074 to 0.54: the exponents in compute published for error
    and excess loss (Kaplan et al. 2020, Hoffmann et al. 2022, Cherti et al. 2023) lie between 0.05 and 0.5.
    """

    median: Annotated[float, Field(gt=0)] = 0.2
    """Of -c."""
    factor: Annotated[float, Field(gt=1)] = 1.65
    """One standard deviation is this factor up or down."""


class Choice(Config):
    """How `form: auto` chooses among forms and `form: average` weighs them, by held-out extrapolation inside the
    fitted points."""

    forms: Annotated[tuple[SingleFormName, ...], Field(min_length=1)] = ("bounded_no_floor", "bounded")
    """The forms that are tried."""
    cuts: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = (
        1 / 2,
        1 / 4,
        1 / 8,
        1 / 16,
        1 / 32,
    )
    """Each form is fitted to the points with x up to this share of the largest, and scored on those above."""

    @field_validator("forms", "cuts")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        # What stands twice would count twice in the weights.
        if len(set(values)) < len(values):
            raise ValueError("expected each of them once")
        return values


class LawSpec(RowSpec):
    """One law per group, fitted to part of a results table and scored on the rest."""

    kind: Literal["law"] = "law"
    """What kind of spec this is; see config/fit_kinds.py."""
    frontier: Frontier = Frontier()
    """Which points the law is fitted to."""
    form: FormName = "saturation"
    """power: a x^c. saturation_no_floor: a (x + b)^c. saturation: a (x + b)^c + d. bounded_no_floor: e0 (1 + x/b)^c.
    bounded: d + (e0 - d) (1 + x/b)^c. broken_power: a x^c0 with one smooth break to c1. line: a x^c, c of either sign.
    auto: the best of `choice` by rolling held-out extrapolation. average: all of them, weighed by it."""
    error_at_zero: Annotated[float, Field(gt=0)] = 1.0
    """e0 of the bounded forms: the error of guessing, such as 0.999 for 1,000 classes."""
    choice: Choice = Choice()
    """For `auto` and `average`; the rolling record is shown for every form."""
    prior: ExponentPrior | None = None
    """On the exponent; where it is not given, `auto` and `average` use the default prior and single forms none.
    `broken_power` and `line`, which have no one negative exponent, do without."""
    residuals: ResidualName | None = None
    """raw: squares of y - f(x), as in the paper. log: squares of log y - log f(x), relative errors count
    alike. logit: of log(y / (1 - y)). Where it is not given, `auto` and `average` use log and single forms raw."""
    huber_delta: Annotated[float, Field(gt=0)] | None = None
    """Huber's loss beyond residuals of this size, in the units of `residuals`; squares where it is not given."""
    weights: str | None = None
    """Column of weights of the squared residuals; only their ratios count."""
    ask: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Values of x that the report predicts the error at."""
    held_out: HeldOut | None = None
    """Points kept from the fit and predicted by it; none where this is not given."""
    thresholds: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """The whole procedure again, for the record, without the points whose x is larger than each of these."""
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Probability that a prediction interval is meant to contain the measurement."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """How intervals are made."""
    comparison: CompareConfig = CompareConfig()
    """What is asked of the comparison of the groups."""
