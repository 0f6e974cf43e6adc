"""Profile likelihoods: Student's interval where the model is a line, scipy's minimum at each end where it is not."""

import numpy as np
import pytest
from scipy.optimize import least_squares, minimize_scalar
from scipy.stats import f, t

from mammut_clip.config.fit import ExponentPrior
from mammut_clip.fit import FORMS, fit_law
from mammut_clip.fit.optimise import Objective
from mammut_clip.fit.profile import profiles

TRUTH = {"a": 57.9, "b": 9.7e7, "c": -0.2266, "d": 0.111}


def test_the_exponent_of_a_power_law_has_students_interval() -> None:
    rng = np.random.default_rng(1)
    x = np.geomspace(1, 1e4, 11)
    law = fit_law(x, 0.8 * x**-0.15 * np.exp(rng.normal(0, 0.05, 11)), "power", residuals="log")
    (profile,) = profiles(law.fit, 0.9)
    assert law.se["c"] is not None
    half = t.ppf(0.95, 9) * law.se["c"]
    assert (profile.lower, profile.upper) == pytest.approx((law.params["c"] - half, law.params["c"] + half), rel=1e-4)
    assert profile.value == law.params["c"] and profile.level == 0.9


def test_at_each_end_the_least_sum_is_the_limit() -> None:
    rng = np.random.default_rng(2)
    x = np.geomspace(1e7, 1e12, 24)
    y = FORMS["saturation"].evaluate(TRUTH, x) * np.exp(rng.normal(0, 0.02, 24))
    law = fit_law(x, y, residuals="log")
    exponent, floor = profiles(law.fit)
    limit = law.fit.cost * (1 + f.ppf(0.95, 1, 20) / 20)

    def least_with_floor(d: float) -> float:
        def residual(p: np.ndarray) -> np.ndarray:
            return np.log(np.exp(p[0]) * (x / 1e8 + np.exp(p[1])) ** -np.exp(p[2]) + d) - np.log(y)

        return float(least_squares(residual, [-0.2, 0.0, -1.5], xtol=1e-14, ftol=1e-14).cost * 2)

    assert floor.parameter == "d" and floor.lower is not None and floor.upper is not None
    assert floor.lower < law.params["d"] < floor.upper
    assert least_with_floor(floor.lower) == pytest.approx(limit, rel=1e-3)
    assert least_with_floor(floor.upper) == pytest.approx(limit, rel=1e-3)
    assert exponent.lower is not None and exponent.upper is not None
    assert exponent.lower < law.params["c"] < exponent.upper < 0


def test_a_floor_that_the_data_do_not_need_has_no_lower_end() -> None:
    rng = np.random.default_rng(3)
    x = np.geomspace(1e7, 1e10, 10)
    y = FORMS["saturation_no_floor"].evaluate(TRUTH, x) * np.exp(rng.normal(0, 0.03, 10))
    floor = profiles(fit_law(x, y, residuals="log").fit)[1]
    assert floor.lower is None and floor.upper is not None


def test_a_priors_pull_does_not_count_as_scatter() -> None:
    """The limit is F times the variance of the residuals above the least sum, however far the prior pulls."""
    rng = np.random.default_rng(5)
    x = np.geomspace(1, 1e4, 10)
    y = 0.8 * x**-0.05 * np.exp(rng.normal(0, 0.05, 10))
    objective = Objective("log", prior=ExponentPrior(median=0.4, factor=1.1))
    fit = fit_law(x, y, "power", objective=objective).fit
    (profile,) = profiles(fit)

    def least(log_size: float) -> float:
        off = np.log(y) + np.exp(log_size) * np.log(x)
        return float(np.sum((off - off.mean()) ** 2) + (fit.prior_weight * (log_size - np.log(0.4))) ** 2)

    best = minimize_scalar(least, bounds=(-6.0, 1.0), method="bounded", options={"xatol": 1e-10}).fun
    assert best > 1.2 * fit.cost  # the prior pulls
    limit = best + f.ppf(0.95, 1, 8) * fit.cost / 8
    assert profile.lower is not None and profile.upper is not None
    for end in (profile.lower, profile.upper):
        assert least(np.log(-end)) == pytest.approx(limit, rel=1e-3)


def test_coverage_of_the_exponents_interval() -> None:
    rng = np.random.default_rng(4)
    x = np.geomspace(1e7, 1e12, 15)
    truth = FORMS["bounded"].evaluate({"b": 1e8, "c": -0.25, "d": 0.1}, x)
    inside = 0
    for _ in range(80):
        law = fit_law(x, truth * np.exp(rng.normal(0, 0.02, 15)), "bounded", residuals="log")
        exponent = profiles(law.fit)[0]
        inside += (exponent.lower or -np.inf) <= -0.25 <= (exponent.upper or 0.0)
    assert inside >= 0.88 * 80  # 0.95 is expected; 80 simulations scatter by 2.4%


def test_nothing_is_profiled_without_a_point_to_spare() -> None:
    assert profiles(fit_law([1, 10, 100, 1000], [0.9, 0.7, 0.45, 0.3]).fit) == ()
