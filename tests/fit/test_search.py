"""Evidence of an optimum: what counts as exact, as agreeing, and as nothing left to gain."""

import numpy as np
import pytest

from mammut_clip.fit import fit_law
from mammut_clip.fit.least_squares import Minimum
from mammut_clip.fit.residuals import Space
from mammut_clip.fit.search import best_start

X = np.geomspace(1e7, 1e12, 30)


def minima(*costs: float, gradient: float = 0.1) -> Minimum:
    many = len(costs)
    theta = np.arange(2.0 * many).reshape(many, 2)
    return Minimum(theta, np.array(costs), np.full(many, gradient), np.zeros((many, 2), dtype=bool), 5)


def test_the_least_is_taken_and_those_that_reach_it_are_counted() -> None:
    best = best_start(minima(2.0, 1.0, 1.0 + 5e-7, 1.1), np.ones(9), Space("raw"))
    assert best.least == 1.0 and best.theta.tolist() == [2.0, 3.0]
    assert (best.starts, best.starts_agreeing, best.degrees_of_freedom) == (4, 2, 7)
    assert not best.converged and best_start(minima(1.0, gradient=1e-6), np.ones(9), Space("raw")).converged


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_what_is_exact_does_not_hang_on_the_unit(unit: float) -> None:
    y = unit * np.linspace(1.0, 2.0, 9)
    for relative, exact in ((1e-14, True), (1e-6, False)):
        assert best_start(minima((relative * unit) ** 2), y, Space("raw")).exact is exact
        assert best_start(minima(relative**2), y, Space("log")).exact is exact


def test_parameters_that_move_nothing_are_neither_a_gradient_nor_known() -> None:
    """Errors that do not fall leave no amplitude: shift and exponent are idle, and the mean is the optimum."""
    for y in (1.0 - 5.0 * X**-0.1, np.full(30, 0.4)):
        law = fit_law(X, y)
        assert law.converged and "a" in law.at_bound
        assert law.params["d"] == pytest.approx(y.mean(), abs=1e-9)
        assert law.se["b"] is None and law.se["c"] is None
