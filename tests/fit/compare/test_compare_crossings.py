"""Where known laws cross: exact places, directions, intervals that are open where draws do not cross."""

from math import inf

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from known_laws import SPAN, Known, normal, power, shifted

from mammut_clip.config.fit_compare import CompareConfig
from mammut_clip.fit.compare import compare
from mammut_clip.fit.compare.pair import Comparison
from mammut_clip.fit.estimate import Estimate

MEASURED = {"one": SPAN, "two": SPAN}


def pair_of(one: Estimate, two: Estimate, **changes: object) -> Comparison:
    (pair,) = compare({"one": one, "two": two}, MEASURED, 0.95, CompareConfig.model_validate(changes))
    return pair


@given(
    log_ratio=st.floats(-1.5, 1.5),
    slow=st.floats(0.05, 0.5),
    steeper=st.floats(0.05, 0.5),
)
def test_two_power_laws_cross_where_algebra_says(log_ratio: float, slow: float, steeper: float) -> None:
    place = 1e8 * np.exp(log_ratio / steeper)  # e^log_ratio (x / 1e8)^-steeper = 1
    assume(SPAN[0] / 900 < place < SPAN[1] * 900)
    pair = pair_of(power(0.3, slow), power(0.3 * np.exp(log_ratio), slow + steeper))
    (crossing,) = pair.crossings.found
    assert crossing.x == pytest.approx(place, rel=1e-9)
    # The one draw is the law itself; it is read off the grid.
    assert crossing.lower == crossing.upper == pytest.approx(place, rel=2e-3)
    assert (crossing.ahead_before, crossing.ahead_after) == ("one", "two")
    assert crossing.place == ("below" if place < SPAN[0] else "beyond" if place > SPAN[1] else "inside")
    assert pair.crossings.none_at_all == 0
    assert pair.crossings.none_within == (crossing.place != "inside")
    assert pair.crossings.beyond == (crossing.place == "beyond")


@pytest.mark.parametrize("place", [SPAN[0], SPAN[1], 1e8])
def test_a_crossing_at_a_point_of_the_grid_is_counted_once(place: float) -> None:
    one, two = power(0.3, 0.2), power(0.3 * (place / 1e8) ** 0.1, 0.3)
    pair = pair_of(one, two, at=[1e8])
    (crossing,) = pair.crossings.found
    assert crossing.x == pytest.approx(place, rel=1e-9)


def test_laws_that_are_the_same_do_not_cross() -> None:
    law = shifted(0.3, 0.2, b=1e7, floor=0.1, scatter=normal(50, 0.1, 0))
    pair = pair_of(law, law)
    assert pair.crossings.found == () and pair.crossings.none_at_all == 1.0
    assert [s.ahead for s in pair.stretches] == [None]


def test_laws_that_cross_back_are_found_beyond_the_data() -> None:
    """The steeper law has the higher floor: it is ahead for a while only."""
    one, two = shifted(0.40, 0.2, floor=0.10), shifted(0.36, 0.4, floor=0.15)
    pair = pair_of(one, two)
    first, back = pair.crossings.found
    for c in (first, back):
        assert float(one.predict(c.x)) == pytest.approx(float(two.predict(c.x)), rel=1e-12)
    assert (first.place, first.ahead_after) == ("inside", "two")
    assert (back.place, back.ahead_after) == ("beyond", "one")
    assert pair.inside == (first,) and pair.outside == (back,) and pair.crossings.beyond == 1.0
    # Followed less far, the laws do not show it.
    near = pair_of(one, two, beyond=1.0)
    assert [c.place for c in near.crossings.found] == ["inside"] and near.searched == SPAN


def test_interval_is_the_spread_of_the_draws() -> None:
    """Draw i of the first law is e^s[i] times the law: it crosses at e^(s[i] / 0.1) times the place."""
    scatter = normal(4001, 0.05, 1)
    pair = pair_of(power(0.3, 0.2, scatter), power(0.3, 0.3, [0.0] * 4001))
    (crossing,) = pair.crossings.found
    places = 1e8 * np.exp(-np.array(scatter) / 0.1)
    assert (crossing.lower, crossing.upper) == pytest.approx(np.quantile(places, [0.025, 0.975]), rel=5e-3)
    assert crossing.probability == 1.0


def test_draws_that_never_cross_open_the_interval() -> None:
    """10 of 100 draws of the second law stay above the first: its crossing comes later than any x that was searched.
    Another 10 are below it from the start."""
    above, below = power(0.9, 0.2).law, power(0.01, 0.2).law
    one, two = power(0.3, 0.2, [0.0] * 100), power(0.3, 0.3)
    late = Known(two.law, [two.law] * 90 + [above] * 10)
    (crossing,) = pair_of(one, late).crossings.found
    assert crossing.lower == pytest.approx(1e8, rel=2e-3) and crossing.upper == inf
    assert crossing.probability == 0.9 and pair_of(one, late).crossings.none_at_all == pytest.approx(0.1)
    early = Known(two.law, [two.law] * 90 + [below] * 10)
    (crossing,) = pair_of(one, early).crossings.found
    assert crossing.lower == 0.0 and crossing.upper == pytest.approx(1e8, rel=2e-3)
    # 2 of 100 are fewer than the 2.5% that a 95% interval leaves out on each side.
    rare = Known(two.law, [two.law] * 98 + [above] * 2)
    (crossing,) = pair_of(one, rare).crossings.found
    assert (crossing.lower, crossing.upper) == pytest.approx((1e8, 1e8), rel=2e-3)


def test_probability_of_no_crossing_counts_draws_within_and_at_all() -> None:
    """Of 10 draws 4 cross at 1e8, 3 at 1e11 (outside), 3 nowhere."""
    one = power(0.3, 0.2, [0.0] * 10)
    two, late = power(0.3, 0.3).law, power(0.3 * 1e3**0.1, 0.3).law
    never = power(0.9, 0.2).law
    pair = pair_of(one, Known(two, [two] * 4 + [late] * 3 + [never] * 3))
    shares = (pair.crossings.none_within, pair.crossings.none_at_all, pair.crossings.beyond)
    assert shares == pytest.approx((0.6, 0.3, 0.3))
