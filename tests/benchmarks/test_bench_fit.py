"""The published fit, written anew: its starts, its optimum and its interval; and the benchmark that times it."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from benchmarks.published_fit import GRID, ONE_START, Array, fit_published
from benchmarks.result import Settings
from scipy import stats

from benchmarks import fit
from mammut_clip.fit import FORMS, fit_law

SOME = GRID[::64]


def law(x: Array, a: float, b: float, c: float, d: float = 0.0) -> Array:
    return a * (x + b) ** c + d


def noisy(points: int = 20) -> tuple[Array, Array]:
    x = np.geomspace(1e7, 5e11, points)
    return x, law(x, 57.9, 9.7e7, -0.2266, 0.111) + np.random.default_rng(3).normal(0, 0.01, points)


def test_the_grid_is_the_published_one() -> None:
    """3,200 starts: a and b in 0, 5, ..., 95, c in -0.2, ..., -0.05, d in 0, 0.0005."""
    assert len(set(GRID)) == len(GRID) == 3200
    a, b, c, d = (sorted(set(values)) for values in zip(*GRID, strict=True))
    assert a == b == list(range(0, 100, 5))
    np.testing.assert_allclose(c, np.arange(-0.2, -0.01, 0.05))
    assert d == [0.0, 0.0005]


def test_the_published_coefficients_of_figure_1(shared_dir: Path) -> None:
    with (shared_dir / "data/paper/figure1_frontier_clip.csv").open(newline="") as file:
        x, y = np.array([(float(row["C"]), float(row["error"])) for row in csv.DictReader(file)]).T
    found = fit_published(x, y, SOME)
    a, b, c, d = found.theta
    np.testing.assert_allclose([a, np.log(b), c, d], [57.862083, 18.391321, -0.226604, 0.111169], rtol=1e-4)
    assert found.sse <= 3.95203e-3
    assert 1 <= found.starts_at_optimum < len(SOME), "some starts of theirs do not get there"


@pytest.mark.parametrize(("starts", "form"), [(SOME, "saturation"), (ONE_START, "saturation_no_floor")])
def test_both_sides_find_one_optimum(starts: tuple[tuple[float, ...], ...], form: str) -> None:
    x, y = noisy()
    theirs, ours = fit_published(x, y, starts), fit_law(x, y, form)
    assert theirs.sse == pytest.approx(ours.sse, rel=1e-6)
    np.testing.assert_allclose(theirs.predict(x), ours.predict(x), rtol=1e-4)
    assert theirs.sse == pytest.approx(np.sum((theirs.predict(x) - y) ** 2), rel=1e-12)


def test_the_published_interval_takes_the_logarithm_of_t() -> None:
    x, y = noisy()
    found = fit_published(x, y, SOME)
    at = np.array([1e8, 1e10, 5e12])
    lower, upper = found.predict_interval(at)
    step = 1e-6 * found.theta
    by_parameter = [(law(at, *(found.theta + s)) - law(at, *(found.theta - s))) / (2 * s.sum()) for s in np.diag(step)]
    jacobian = np.stack(by_parameter, axis=1)
    error = np.sqrt(np.diag(jacobian @ found.covariance @ jacobian.T))
    np.testing.assert_allclose((upper - lower) / 2, np.log(stats.t.ppf(0.975, 20 - 4)) * error, rtol=1e-4)
    np.testing.assert_allclose((upper + lower) / 2, found.predict(at))


def test_starts_that_fail_are_counted_as_such() -> None:
    x, y = noisy()
    bad = (10.0, -5.0, -0.1, 0.0)  # outside the bounds: curve_fit refuses it
    found = fit_published(x, y, [bad, *SOME[:5]])
    assert np.isinf(found.sums[0]) and np.isfinite(found.sums[1:]).all()
    with pytest.raises(RuntimeError, match="none of 2 starts"):
        fit_published(x, y, [bad, bad])


def test_the_benchmark_has_a_row_for_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """No timing: both sides minimise the same sum, so ours may not be the larger one."""
    monkeypatch.setattr(fit, "GRID", tuple(itertools.islice(SOME, 40)))
    monkeypatch.setattr(fit, "REFITS", 100)
    found = fit.measure(Settings(repeats=2))
    settings = [row.setting for row in found.rows]
    assert all(any(s.startswith(f"{form}: a law") for s in settings) for form in FORMS)
    sums = [row for row in found.rows if row.unit == "sum of squared errors"]
    assert len(sums) == 1 and sums[0].ratio is not None and sums[0].ratio < 1 + 1e-6
    shares = [row for row in found.rows if row.unit == "share of starts at the optimum"]
    assert shares and all(0 < value <= 1 for row in shares for value in [*row.ours, *row.theirs])
    assert all(len(row.ours) == 2 and min(row.ours) > 0 for row in found.rows)
