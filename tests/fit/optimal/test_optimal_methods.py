"""Optimal allocation from grids whose optimum is known: each method, its edges, its intervals."""

from dataclasses import replace

import numpy as np
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_grid import CellBootstrap, Surface
from mammut_clip.fit.frontier import non_dominated
from mammut_clip.fit.grid import Grid, cell_weights
from mammut_clip.fit.joint import fit_joint
from mammut_clip.fit.optimal.frontier import frontier_law, non_dominated_draws
from mammut_clip.fit.optimal.isoflop import compute_bins, isoflop_law, vertex
from mammut_clip.fit.optimal.line import AllocationLaw, Target, log_line
from mammut_clip.fit.optimal.parametric import parametric_law
from mammut_clip.fit.optimal.run import TARGETS

ALPHA, BETA = 0.4, 0.6
"""Optimal size grows as compute^0.6, optimal samples as compute^0.4."""


def grid(sizes: np.ndarray, samples: np.ndarray, noise: float = 0.0, seed: int = 0) -> Grid:
    """A Chinchilla surface over every pair of two axes, with log-normal noise."""
    n, d = (side.ravel() for side in np.meshgrid(sizes, samples, indexing="ij"))
    error = 0.05 + 0.8 * n**-ALPHA + 6000 * d**-BETA
    error = error * np.exp(np.random.default_rng(seed).normal(0, noise, len(n)))
    return Grid("clip", n, d, n * d, error, np.arange(len(n)), ("",) * len(n))


WIDE = np.geomspace(1, 3000, 24), np.geomspace(1e5, 1e12, 34)
"""Axes that hold every optimum between 1e8 and 1e13 GFLOPs."""


def weights(of: Grid) -> np.ndarray:
    return cell_weights(of, CellBootstrap(count=400))


def optimum(compute: float) -> float:
    """Samples of least error: alpha A N^-alpha = beta B D^-beta with N = C / D."""
    d = np.geomspace(1e3, 1e13, 400_001)
    return float(d[np.argmin(0.8 * (compute / d) ** -ALPHA + 6000 * d**-BETA)])


def laws(of: Grid, target: Target) -> dict[str, AllocationLaw]:
    joint = fit_joint(of.size, of.samples, of.error, Surface(form="chinchilla"), bootstrap=CellBootstrap(count=400))
    return {
        "frontier": frontier_law(of, target, keep_edges=False, weights=weights(of)),
        "isoflop": isoflop_law(of, target, bin_factor=3.0, size_factor=5.0, weights=weights(of)),
        "parametric": parametric_law(of, target, joint),
    }


def test_every_method_finds_the_known_optimum() -> None:
    whole = grid(*WIDE)
    compute = 1e11
    found = {target: laws(whole, target) for target in TARGETS}
    tolerance = {"frontier": 0.02, "isoflop": 0.03, "parametric": 1e-4}
    for method, near in tolerance.items():
        samples, size = found["samples"][method], found["size"][method]
        assert samples.exponent == pytest.approx(ALPHA / (ALPHA + BETA), abs=near)
        assert samples.exponent + size.exponent == pytest.approx(1, abs=1e-9)
        assert float(samples.predict(compute)) == pytest.approx(optimum(compute), rel=10 * near)
        assert float(samples.predict(compute) * size.predict(compute)) == pytest.approx(compute, rel=1e-9)


def test_the_edges_of_a_small_grid_bias_the_frontier_and_are_left_out() -> None:
    """Sizes that begin where the optimum is already large: below, every run of the frontier is the smallest model."""
    small = grid(np.geomspace(30, 1000, 16), np.geomspace(1e5, 3e9, 30))
    kept = frontier_law(small, "samples", keep_edges=True, weights=weights(small))
    left = frontier_law(small, "samples", keep_edges=False, weights=weights(small))
    assert kept.exponent > 0.6 and left.exponent == pytest.approx(0.4, abs=0.06)
    assert kept.optima is not None and left.optima is not None
    assert kept.optima.used.all() and kept.optima.at_edge()["smallest model"] > 3
    assert left.optima.at_edge().keys() >= {"smallest model", "largest model"}
    assert not any(left.optima.used & np.array([bool(w) for w in left.optima.why]))
    inside = left.optima.compute[left.optima.used]
    assert left.compute_range == (inside.min(), inside.max())


def test_where_everything_is_at_the_edge_there_is_no_law() -> None:
    only_small = grid(np.geomspace(300, 1000, 8), np.geomspace(1e5, 1e7, 12))
    for target in TARGETS:
        with pytest.raises(InputError, match="a line needs 3"):
            frontier_law(only_small, target, keep_edges=False, weights=weights(only_small))
        with pytest.raises(InputError, match="bins of compute have their least error inside the grid; a line needs 3"):
            isoflop_law(only_small, target, bin_factor=3.0, size_factor=5.0, weights=weights(only_small))


def test_isoflop_bins_hold_one_factor_of_compute_and_say_where_the_minimum_lies() -> None:
    whole = grid(np.geomspace(1, 300, 12), np.geomspace(1e5, 1e11, 30))
    found = compute_bins(whole, 3.0)
    for b in found:
        compute = whole.compute[b.rows]
        assert compute.max() / compute.min() < 3.0 * (1 + 1e-6) and len(b.rows) >= 6
    everyone = np.ones((1, len(whole)))
    reasons = [str(vertex(b, whole.error, everyone, 5.0)[1][0]) for b in found]
    assert {"", "below the sizes", "above the sizes"} <= set(reasons)
    # In order of compute: first the sizes are all too large, then they hold the optimum, then they are too small.
    assert [r for i, r in enumerate(reasons) if i == 0 or r != reasons[i - 1]][-2:] == ["", "above the sizes"]


def test_isoflop_is_exact_for_a_parabola() -> None:
    """log error = (log N - 0.6 log C)^2 / 10 - 0.1 log C within each bin of exactly one compute."""
    compute, factor = (side.ravel() for side in np.meshgrid(10.0 ** np.arange(8, 13), np.geomspace(0.1, 10, 7)))
    size = factor * compute**0.6 / 1e4
    error = np.exp(np.log(factor) ** 2 / 10 - 0.1 * np.log(compute))
    exact = Grid("g", size, compute / size, compute, error, np.arange(len(size)), ("",) * len(size))
    law = isoflop_law(exact, "size", bin_factor=3.0, size_factor=5.0, weights=weights(exact))
    assert law.exponent == pytest.approx(0.6, abs=1e-6)
    assert float(law.predict(1e10)) == pytest.approx(1e10**0.6 / 1e4, rel=1e-5)
    assert law.exponent_interval() == pytest.approx((0.6, 0.6), abs=1e-5)


def test_non_dominated_draws_are_the_frontier_of_what_was_drawn() -> None:
    noisy = grid(np.geomspace(1, 300, 6), np.geomspace(1e6, 1e9, 8), 0.2)
    drawn = weights(noisy)
    masks = non_dominated_draws(noisy, drawn)
    for draw, mask in zip(drawn, masks, strict=True):
        there = np.flatnonzero(draw)
        expected = np.zeros(len(noisy), dtype=bool)
        expected[there[non_dominated(noisy.compute[there], noisy.error[there])]] = True
        np.testing.assert_array_equal(mask, expected)


def test_log_line_is_polyfit() -> None:
    rng = np.random.default_rng(0)
    x, y, used = rng.normal(size=9), rng.normal(size=(4, 9)), rng.random((4, 9)) < 0.7
    used[3] = np.arange(9) < 2
    lines = log_line(x, y, used, 0.3)
    for i in range(3):
        slope, level = np.polyfit(x[used[i]] - 0.3, y[i][used[i]], 1)
        np.testing.assert_allclose(lines[i], [level, slope], rtol=1e-10)
    assert np.isnan(lines[3]).all()


def test_intervals_contain_the_exponent() -> None:
    """Over 40 simulated grids with 2% noise."""
    hits: dict[str, list[bool]] = {"frontier": [], "isoflop": [], "parametric": []}
    for seed in range(40):
        for method, law in laws(
            grid(np.geomspace(1, 3000, 14), np.geomspace(1e6, 1e11, 16), 0.02, seed), "size"
        ).items():
            low, high = law.exponent_interval()
            hits[method].append(low <= 0.6 <= high)
    # The percentile bootstrap of a frontier is no textbook case: fewer cells mean another frontier.
    assert np.mean(hits["parametric"]) >= 0.85 and np.mean(hits["isoflop"]) >= 0.85
    assert np.mean(hits["frontier"]) >= 0.75


def test_params_as_size_need_the_ratio_to_compute() -> None:
    whole = grid(*WIDE)
    millions = replace(whole, size=whole.size * 1e6)
    for method in ("isoflop", "parametric"):
        by_flops, by_params = laws(whole, "samples")[method], laws(millions, "samples")[method]
        assert float(by_params.predict(1e11)) == pytest.approx(float(by_flops.predict(1e11)), rel=1e-4)
