"""Compute multipliers of known laws, also where an error is never reached."""

from math import exp, inf, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_laws import SPAN, Known, normal, power, shifted

from mammut_clip.config.fit_compare import CompareConfig
from mammut_clip.fit.compare import Multiplier, compare
from mammut_clip.fit.compare.multiplier import reach
from mammut_clip.fit.estimate import Estimate


def multipliers(one: Estimate, two: Estimate, **changes: object) -> tuple[Multiplier, ...]:
    measured = {"one": SPAN, "two": SPAN}
    (pair,) = compare({"one": one, "two": two}, measured, 0.95, CompareConfig.model_validate(changes))
    return pair.multipliers


@given(factor=st.floats(-3, 3), alpha=st.floats(0.05, 0.6), at=st.floats(6.5, 9.5))
def test_parallel_power_laws_have_one_multiplier(factor: float, alpha: float, at: float) -> None:
    """The first law with e^factor times the compute is the second."""
    one, two = power(0.3, alpha), power(0.3 * exp(-alpha * factor), alpha)
    error = float(one.predict(10**at))
    by_x, by_x_at_end, by_error = multipliers(one, two, at=[10**at], errors=[error])
    assert by_x.ratio == pytest.approx(exp(factor), rel=1e-9)
    assert by_x_at_end.ratio == pytest.approx(exp(factor), rel=1e-9) and by_x_at_end.at == SPAN[1]
    assert by_error.ratio == pytest.approx(exp(factor), rel=1e-9) and by_error.at is None
    assert by_error.first_x == pytest.approx(10**at, rel=1e-9)
    # The group that is behind is the one that has the x that was asked for.
    behind, ahead = (by_x.first_x, by_x.second_x) if factor > 0 else (by_x.second_x, by_x.first_x)
    assert behind == pytest.approx(10**at) and ahead <= behind * (1 + 1e-9)
    assert (by_x.lower, by_x.upper) == pytest.approx((by_x.ratio, by_x.ratio), rel=2e-3)


def test_interval_is_the_spread_of_the_draws() -> None:
    scatter = np.array(normal(4001, 0.02, 2))
    _, m = multipliers(power(0.3, 0.2, list(scatter)), power(0.27, 0.2, [0.0] * 4001), errors=[0.3])
    ratios = (0.3 / 0.27 * np.exp(scatter)) ** (1 / 0.2)
    assert (m.lower, m.upper) == pytest.approx(np.quantile(ratios, [0.025, 0.975]), rel=5e-3)
    assert m.undefined == m.first_misses == m.second_misses == 0.0


def test_an_error_below_a_floor_is_never_reached() -> None:
    floored, free = shifted(0.3, 0.3, floor=0.2), power(0.4, 0.2)
    _, first_misses, both, above = multipliers(floored, free, errors=[0.15, 1e-9, 50.0])
    assert first_misses.first_x == first_misses.ratio == first_misses.lower == first_misses.upper == inf
    assert first_misses.first_misses == 1.0 and first_misses.second_misses == 0.0
    _, second_misses = multipliers(free, floored, errors=[0.15])
    assert second_misses.ratio == second_misses.lower == second_misses.upper == 0.0
    for undefined in (both, above):
        assert isnan(undefined.ratio) and isnan(undefined.lower) and isnan(undefined.upper)
        assert undefined.undefined == 1.0
    assert (both.first_x, both.second_x) == (inf, inf) and (above.first_x, above.second_x) == (0.0, 0.0)


def test_draws_that_miss_the_error_open_the_interval() -> None:
    low, high = (1.0, 0.0, 0.2, 0.0), (1.0, 0.0, 0.2, 0.3)
    sometimes = Known(low, [low] * 80 + [high] * 20)
    _, m = multipliers(sometimes, power(float(1e8**-0.2), 0.2, [0.0] * 100), errors=[0.03])
    assert m.first_misses == 0.2 and m.ratio == pytest.approx(1.0)
    assert m.lower == pytest.approx(1.0, rel=2e-3) and m.upper == inf


def test_a_curve_that_rises_again_keeps_what_it_has_reached() -> None:
    x = np.geomspace(1.0, 1e6, 61)
    dip = np.abs(np.log10(x) - 2.0) + 0.1
    found = np.exp(reach(x, dip[None], np.array([[1.1, 0.6, 0.05, 3.0]])))[0]
    assert found[:2] == pytest.approx([10.0, 10**1.5]) and found[2] == inf and found[3] == 0.0
