"""The procedures whose held-out extrapolation is compared: the published two, and each form of ours."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, get_args

import numpy as np

from benchmarks.held_out_cases import Array, Case
from benchmarks.published_fit import GRID, ONE_START, fit_published
from mammut_clip.config.fit import FormName, LawSpec
from mammut_clip.fit import run_spec

FOUR, THREE = "published, four parameters", "published, three parameters"


class Prediction(Protocol):
    """What is asked of a fitted law."""

    def predict(self, x: Array) -> Array: ...

    def predict_interval(self, x: Array, level: float = 0.95) -> tuple[Array, Array]: ...


@dataclass(frozen=True)
class Point:
    """One prediction of a held-out point."""

    procedure: str
    task: str
    group: str
    cut: float
    x: float
    measured: float
    predicted: float
    lower: float
    upper: float
    non_dominated: bool
    """No run of the group with less compute is better."""
    published: bool
    """On the frontier as published."""


Procedure = Callable[[Case], Prediction]
"""Fits a law to what lies at or below the cut of a case."""


def procedures() -> dict[str, Procedure]:
    """By name, the slowest first."""
    forms: dict[str, Procedure] = {name: partial(_ours, form=name) for name in form_names()}
    return {FOUR: partial(_published, starts=GRID), THREE: partial(_published, starts=ONE_START), **forms}


def form_names() -> list[FormName]:
    """Every form a spec can name but `line`, which is the power law with an exponent of either sign."""

    def names(kind: Any) -> list[FormName]:
        return [n for k in get_args(kind) for n in (names(k) if get_args(k) else [k])]

    return [name for name in dict.fromkeys(names(FormName)) if name != "line"]


def predictions(name: str, procedure: Procedure, case: Case) -> list[Point]:
    """A procedure's predictions of every point that is asked of a case."""
    rows = np.flatnonzero(case.asked | case.asked_as_published)
    law = procedure(case)
    centre = law.predict(case.x[rows])
    lower, upper = law.predict_interval(case.x[rows], 0.95)
    return [
        Point(
            name,
            case.task,
            case.group,
            case.cut,
            float(case.x[row]),
            float(case.y[row]),
            float(centre[i]),
            float(lower[i]),
            float(upper[i]),
            bool(case.asked[row]),
            bool(case.asked_as_published[row]),
        )
        for i, row in enumerate(rows)
    ]


def _published(case: Case, starts: tuple[tuple[float, ...], ...]) -> Prediction:
    """The published frontier of all runs, and its fit to what lies up to the cut."""
    mask = case.published & (case.x <= case.cut)
    return fit_published(case.x[mask], case.y[mask], starts)


def _ours(case: Case, form: FormName) -> Prediction:
    """A spec of the rows up to the cut that sets nothing but the form."""
    return run_spec(LawSpec(unit="error", form=form), case.seen).groups[0].estimate
