"""The chance that a planned run becomes a point of the law, by what others measured."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from known_runs import report, results, spec
from mammut_clip.fit import FitReport, run_spec
from mammut_clip.fit.group import GroupFit
from mammut_clip.fit.planning import Place, Shape
from mammut_clip.fit.planning.joining import chances, scatter, space_of


def at(*xs: float) -> list[Place]:
    return [Place(Shape("planned", 1), "clip", x, None, "table") for x in xs]


def without_shapes(**changes: object) -> FitReport:
    return run_spec(spec(**changes), results(penalty=0.0))


def test_every_run_counts_where_every_cell_is_a_point() -> None:
    for method in ("all", "best_per_cell"):
        found = report(frontier={"method": method})
        assert chances(found.groups[0], found.spec, at(1e9, 1e12)) == [1.0, 1.0]


def test_beyond_all_compute_a_run_counts_and_below_the_frontier_it_does_not() -> None:
    found = report()
    clip = found.groups[0]
    beyond, among = chances(clip, found.spec, at(1e14, 3e10))
    assert beyond == 1.0
    assert 0.0 < among < 1.0
    better = results()
    first = (better["family"] == "clip") & (better["gflops_paper"] == clip.points["x"].min())
    better.loc[first, "value"] = 0.9999  # nothing later beats it
    (none,) = chances(clip_of(better, found), found.spec, at(3e10))
    assert none == 0.0


def clip_of(table: pd.DataFrame, found: FitReport) -> GroupFit:
    """The group as it was fitted, with other rows measured."""
    clip = found.groups[0]
    rows = table[table["family"] == "clip"]
    return replace(clip, points=clip.points.assign(error=1 - rows["value"].to_numpy()))


def test_the_chance_is_that_of_beating_the_best_cheaper_run() -> None:
    """Among non-dominated points: P(outcome < least error of cheaper runs), for log residuals a normal tail."""
    found = report(bootstrap={"count": 4000})
    clip = found.groups[0]
    x = 2.5e10
    rival = clip.points["error"][clip.points["x"] <= x].min()
    draws = np.log(clip.estimate.draws([x])[:, 0])
    tail = stats.norm.cdf((np.log(rival) - draws) / np.sqrt(scatter(clip))).mean()
    assert chances(clip, found.spec, at(x)) == [pytest.approx(tail, abs=0.06)]


def test_held_out_runs_are_no_rivals() -> None:
    held = report(held_out={"above": 1e10})
    everything = report()
    places = at(2e10)
    assert chances(held.groups[0], held.spec, places) == [1.0]
    assert chances(everything.groups[0], everything.spec, places)[0] < 1.0


def test_scatter_is_the_residual_variance_about_the_law() -> None:
    found = without_shapes(frontier={"method": "all"})
    clip = found.groups[0]
    assert space_of(clip).name == "log"
    assert np.sqrt(scatter(clip)) == pytest.approx(0.01, rel=0.35)  # results() has a noise of 1%
