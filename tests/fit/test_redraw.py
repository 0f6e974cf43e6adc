"""Draws of cells and runs: whole units, the frontier found anew, paired between groups that share names."""

import numpy as np
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.fit import Bootstrap, fit_law
from mammut_clip.fit.bootstrap import ensemble
from mammut_clip.fit.frontier import non_dominated
from mammut_clip.fit.redraw import Redrawn, units_of

X = np.repeat(np.geomspace(1e8, 1e11, 12), 3)
Y = (X / 1e8) ** -0.2 * np.exp(np.random.default_rng(0).exponential(0.05, 36))
CELLS = tuple(f"cell {i}" for i in range(12))


def rows(names: tuple[str, ...] = CELLS, y: np.ndarray = Y) -> Redrawn:
    units = units_of(names, [f"cell {i}" for i in np.arange(36) // 3])
    return Redrawn(X, y, np.ones(36), units, names, lambda drawn: non_dominated(X[drawn], y[drawn]))


def test_only_rows_of_the_frontier_of_a_draw_have_weight() -> None:
    x, y, weights = rows().draw(200, 1, needed=2)
    for row in weights:
        drawn = row > 0
        assert (np.diff(y[drawn][np.argsort(x[drawn])]) < 0).all()
    assert (weights == np.round(weights)).all() and weights.max() > 1
    assert set(zip(x, y, strict=True)) <= set(zip(X, Y, strict=True))


def test_all_runs_of_a_cell_come_together() -> None:
    """With whole cells drawn, a cell's best run is never missing while another run of it is there."""
    best = Y.reshape(12, 3).min(axis=1)
    _, y, _ = rows().draw(300, 2, needed=2)
    assert set(y) <= set(best)


def test_groups_that_share_names_and_seed_are_paired() -> None:
    """The same cells drawn as often in both: frontiers of proportional errors are the same rows."""
    names = (*CELLS, "a cell of the other group alone")
    first, second = rows(names).draw(100, 3, needed=2), rows(names, Y * 0.9).draw(100, 3, needed=2)
    np.testing.assert_array_equal(first[2], second[2])
    assert not np.array_equal(first[2], rows(names).draw(100, 4, needed=2)[2])


def test_refits_to_draws_are_laws_of_the_drawn_points() -> None:
    pool = rows()
    chosen = non_dominated(X, Y)
    law = fit_law(X[chosen], Y[chosen], "power", residuals="log")
    thetas = ensemble(law.fit, Bootstrap("cells", 100, 7, pool))
    x, y, weights = pool.draw(100, 7, needed=2)
    for theta, weight in zip(thetas[:10], weights[:10], strict=True):
        slope, _ = np.polyfit(np.log(x), np.log(y), 1, w=np.sqrt(weight))
        assert -np.exp(theta[1]) == pytest.approx(slope, rel=1e-5)


def test_too_few_points_are_said() -> None:
    flat = np.where(np.arange(36) == 0, 0.1, 0.9)  # one run beats all: every frontier is that run
    pool = Redrawn(
        X, flat, np.ones(36), np.zeros(36, dtype=np.intp), ("all",), lambda drawn: non_dominated(X[drawn], flat[drawn])
    )
    with pytest.raises(InputError, match="never found 2 points of different x"):
        pool.draw(5, 0, needed=2)
