"""Which shapes a frontier has: the line of samples on compute, its interval, and what it says of measured cells."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from known_runs import best_samples, report
from mammut_clip.config.files import find_file
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.load import load_config
from mammut_clip.fit import run_spec
from mammut_clip.fit.frontier import best_per_cell, non_dominated
from mammut_clip.fit.planning.shape_line import shape_line


def frontier_points(noise: float = 0.1, n: int = 12) -> pd.DataFrame:
    """Runs that are all on the frontier, their samples 3 x^0.8 but for noise."""
    rng = np.random.default_rng(1)
    x = np.geomspace(1e7, 1e11, n)
    samples = 3 * x**0.8 * np.exp(rng.normal(0, noise, n))
    return pd.DataFrame({"x": x, "error": x**-0.1, "samples_seen": samples, "model": "m"})


def test_an_exact_line_is_found() -> None:
    line = shape_line(frontier_points(noise=0.0))
    assert line is not None
    assert (line.slope, line.intercept) == pytest.approx((0.8, np.log10(3)))
    judged = line.judge(1e12, 2 * 3 * 1e12**0.8, 0.95)
    assert judged.factor == pytest.approx(2.0)
    assert not judged.on_frontier


def test_the_interval_is_students_for_one_more_run() -> None:
    points = frontier_points()
    line = shape_line(points)
    assert line is not None
    x, y, at = np.log10(points["x"]), np.log10(points["samples_seen"]), 12.3
    fit = stats.linregress(x, y)
    s = np.sqrt(np.sum((y - fit.intercept - fit.slope * x) ** 2) / 10)
    half = stats.t.ppf(0.95, 10) * s * np.sqrt(1 + 1 / 12 + (at - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2))
    judged = line.judge(10**at, 1e9, 0.9)
    centre = fit.intercept + fit.slope * at
    assert np.log10([judged.least, judged.most]) == pytest.approx([centre - half, centre + half])
    assert line.judge(10**at, judged.most * 0.99, 0.9).on_frontier
    assert not line.judge(10**at, judged.most * 1.01, 0.9).on_frontier
    assert not line.judge(10**at, judged.least * 0.99, 0.9).on_frontier


def test_dominated_runs_do_not_bend_the_line() -> None:
    points = frontier_points()
    worse = points.assign(error=points["error"] * 1.01, samples_seen=1e6, x=points["x"] * 1.0001)
    alone, both = shape_line(points), shape_line(pd.concat([points, worse], ignore_index=True))
    assert alone is not None and both is not None
    assert (both.slope, both.scatter) == pytest.approx((alone.slope, alone.scatter))


def test_no_line_without_samples_or_with_too_few_runs() -> None:
    points = frontier_points()
    assert shape_line(points.drop(columns="samples_seen")) is None
    assert shape_line(points.iloc[:4]) is None
    assert shape_line(points.iloc[:5]) is not None


def test_known_best_shapes_are_on_the_frontier() -> None:
    (clip, _) = report().groups
    line = shape_line(clip.points)
    assert line is not None
    for x in (1e9, 1e10, 1e11):
        best = best_samples(x)
        assert line.judge(x, best, 0.95).on_frontier
        assert not line.judge(x, best * 300, 0.95).on_frontier
        assert not line.judge(x, best / 300, 0.95).on_frontier


def test_the_papers_exponents_and_what_shape_costs_there(shared_dir: Path) -> None:
    changes = ["table=null", "frontier.method=non_dominated", "form=average", "error_at_zero=0.999"]
    paper = load_config(LawSpec, find_file("fit", "paper-figure1"), changes)
    found = run_spec(paper, shared_dir / "data/paper/runs_datacomp_cosine.parquet")
    for group, exponent in zip(found.groups, (0.7407, 0.7419), strict=True):
        line = shape_line(group.points)
        assert line is not None
        assert line.slope == pytest.approx(exponent, abs=5e-5)  # figure 6
        points = group.points
        error = points["error"].to_numpy()
        best = best_per_cell(points.groupby(["model", "samples_seen"]).ngroup().to_numpy(), error)
        frontier = non_dominated(points["x"].to_numpy(), error)[best]
        cells = points[best]
        shapes = zip(cells["x"], cells["samples_seen"], strict=True)
        on = np.array([line.judge(x, samples, 0.95).on_frontier for x, samples in shapes])
        excess = cells["error"].to_numpy() / group.estimate.predict(cells["x"].to_numpy()) - 1
        assert on[frontier].all()
        assert np.median(excess[on]) < 0.04
        assert np.median(excess[~on]) > 0.12
