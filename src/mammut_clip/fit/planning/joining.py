"""The chance that a planned run becomes a point of its law: a run that others beat is no point of a frontier."""

import numpy as np
import pandas as pd

from mammut_clip.config.fit import LawSpec
from mammut_clip.fit.forms import Array
from mammut_clip.fit.frontier import frontier
from mammut_clip.fit.group import GroupFit
from mammut_clip.fit.planning.places import Place
from mammut_clip.fit.residuals import Space

_OUTCOMES = 25
_EVERY_RUN = ("all", "best_per_cell")
"""Points that every run, or every cell that was not measured, is one of."""


def space_of(group: GroupFit) -> Space:
    """The space of the residuals of a group's law."""
    return group.law.fit.objective.space


def scatter(group: GroupFit) -> float:
    """Variance of a measurement about the law of a group, in the space of its residuals, as the draws have it: widened
    by v / (v - 2), for v degrees of freedom do not tell it exactly."""
    space, freedom = space_of(group), group.law.fit.degrees_of_freedom
    points = group.points[group.points["fitted"]]
    x, error = (points[column].to_numpy(dtype=np.float64) for column in ("x", "error"))
    residuals: Array = space.forward(error) - space.forward(group.estimate.predict(x))
    return float(residuals @ residuals) / max(freedom - 2, 1)


def is_picky(spec: LawSpec) -> bool:
    """Whether a run can fail to become a point of the spec's laws."""
    return spec.frontier.method not in _EVERY_RUN


def chances(group: GroupFit, spec: LawSpec, planned: list[Place]) -> list[float]:
    """For each planned run of one group, the probability that the spec's frontier would have it.

    The run's error is the law's, by its draws, with the scatter of the fitted points; the frontier is found anew with
    each of 25 outcomes, the middles of equally likely intervals.
    """
    if not is_picky(spec) or not planned:
        return [1.0] * len(planned)
    space = space_of(group)
    drawn = space.forward(group.estimate.draws([place.x for place in planned]))
    noise = np.random.default_rng([spec.bootstrap.seed, 7]).standard_normal((len(drawn), 1))
    levels = (np.arange(_OUTCOMES) + 0.5) / _OUTCOMES
    outcomes = space.backward(np.quantile(drawn + np.sqrt(scatter(group)) * noise, levels, axis=0))
    seen = group.points[~group.points["held_out"]]
    return [_share(seen, spec, place, outcomes[:, i]) for i, place in enumerate(planned)]


def _share(seen: pd.DataFrame, spec: LawSpec, place: Place, outcomes: Array) -> float:
    columns = ["x", "error"]
    added = pd.DataFrame({"x": [place.x], "error": [1.0]})
    table = pd.concat([seen[columns], added], ignore_index=True)
    last, joined = len(table) - 1, 0
    for error in outcomes:
        table.loc[last, "error"] = error
        joined += bool(frontier(table, "x", "error", spec.frontier)[last])
    return joined / len(outcomes)
