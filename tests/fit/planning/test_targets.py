"""What a plan narrows: laws, differences and crossings with their draws."""

import numpy as np
import pandas as pd
import pytest

from known_runs import LAWS, frontier_error, report, results
from mammut_clip.config.errors import InputError
from mammut_clip.fit.planning import crossing_target, difference_target, law_target
from mammut_clip.fit.planning.targets import _changes, _crossing


def true_crossing() -> float:
    x = np.geomspace(1e8, 1e14, 100_001)
    gap = np.array([frontier_error("clip", at) - frontier_error("mammut", at) for at in x])
    return float(x[np.flatnonzero(np.diff(np.sign(gap)))[0]])


def test_a_laws_interval_is_the_estimates() -> None:
    found = report()
    target = law_target(found, 1e12, "mammut")
    estimate = next(g for g in found.groups if g.name == "mammut").estimate
    low, high = estimate.law_interval([1e12], 0.95)
    assert target.value == pytest.approx(float(estimate.predict([1e12])[0]))
    assert target.ends() == pytest.approx((float(low[0]), float(high[0])), rel=0.01)
    assert target.ends(0.0) == pytest.approx((target.value, target.value))
    half = np.log(target.ends(0.5)) - np.log(target.value)
    assert half == pytest.approx(0.5 * (np.log(target.ends()) - np.log(target.value)))


def test_a_difference_is_that_of_independent_laws() -> None:
    found = report()
    target = difference_target(found, 1e12, "clip", "mammut")
    parts = [law_target(found, 1e12, name) for name in LAWS]
    assert target.value == pytest.approx(parts[0].value - parts[1].value)
    spread = [np.exp(part.draws).std() for part in parts]
    assert target.draws.std() == pytest.approx(np.hypot(*spread), rel=0.1)
    other = difference_target(found, 1e12, "mammut", "clip")
    assert other.ends() == pytest.approx(tuple(-end for end in reversed(target.ends())))


def test_the_crossing_of_known_laws() -> None:
    target = crossing_target(report(results(noise=0.003, penalty=0.2)), "clip", "mammut")
    low, high = target.ends()
    assert target.value == pytest.approx(true_crossing(), rel=0.5)
    assert low < true_crossing() < high
    assert np.isfinite(target.draws).mean() >= 0.8


def test_laws_that_do_not_cross_have_no_crossing_to_plan_for() -> None:
    table = results()
    clip = table[table["family"] == "clip"]
    half = clip.assign(family="half", model="other", run="half-" + clip["run"], value=0.5 + 0.5 * clip["value"])
    found = report(pd.concat([clip, half], ignore_index=True))
    with pytest.raises(InputError, match=r"do not cross between|of the draws only"):
        crossing_target(found, "clip", "half")


def test_draws_that_never_cross_lie_at_infinity() -> None:
    x = np.geomspace(1.0, 1e4, 9)
    gap = np.log10(x) - 2.1
    ((at, rises),) = _changes(x, gap)
    assert (at, rises) == (pytest.approx(2.1), True)
    assert _crossing(x, gap, 2.0, rises=True) == pytest.approx(2.1)
    assert _crossing(x, gap - 10, 2.0, rises=True) == np.inf
    assert _crossing(x, gap + 10, 2.0, rises=True) == -np.inf
    assert _crossing(x, -gap - 10, 2.0, rises=False) == -np.inf
    twice = np.abs(np.log10(x) - 2) - 0.9
    assert _crossing(x, twice, 2.0, rises=True) == pytest.approx(2.9)
    assert _crossing(x, twice, 2.0, rises=False) == pytest.approx(1.1)


def test_groups_that_are_not_there_are_named() -> None:
    with pytest.raises(InputError, match=r"group 'coca'.*clip, mammut"):
        law_target(report(), 1e12, "coca")
