"""Intervals of comparisons on synthetic measurements of known laws: they hold the truth as often as they say."""

import numpy as np
from scipy.stats import binom

from mammut_clip.config.fit_compare import CompareConfig
from mammut_clip.fit.bootstrap import Bootstrap
from mammut_clip.fit.compare import compare
from mammut_clip.fit.compare.pair import Comparison
from mammut_clip.fit.law import fit_law
from mammut_clip.fit.law_estimate import LawEstimate

SPAN = (1e6, 1e10)
CROSSING = 1e8


def measured(seed: int, alphas: tuple[float, float], form: str, points: int, sigma: float) -> Comparison:
    """Two laws through (1e8, 0.4), a (x + 3e6)^-alpha, measured at points of their own with log-normal noise."""
    rng, laws = np.random.default_rng(seed), {}
    shift = 3e6 if form == "saturation_no_floor" else 0.0
    for i, (name, alpha) in enumerate(zip(("one", "two"), alphas, strict=True)):
        x = np.exp(rng.uniform(np.log(SPAN[0]), np.log(SPAN[1]), points))
        y = 0.4 * ((x + shift) / (CROSSING + shift)) ** -alpha * np.exp(rng.normal(0.0, sigma, points))
        laws[name] = LawEstimate(fit_law(x, y, form, residuals="log"), Bootstrap("residual", 300, 2 * seed + i))
    (pair,) = compare(laws, dict.fromkeys(laws, SPAN), 0.95, CompareConfig(at=(1e9,)))
    return pair


def test_interval_of_a_crossing_holds_the_truth() -> None:
    pairs = [measured(seed, (0.15, 0.25), "saturation_no_floor", 14, 0.03) for seed in range(100)]
    found = [c for pair in pairs for c in pair.crossings.found if c.ahead_after == "two" and c.place == "inside"]
    assert len(found) >= 98, "at this noise the crossing is seldom missed"
    held = sum(c.lower <= CROSSING <= c.upper for c in found)
    # What 95% gives in 100 tries, but for one case in a thousand on either side.
    low, high = binom.ppf([0.001, 0.999], len(found), 0.95)
    assert low <= held <= high
    # Intervals that hold the truth by being wide would be worth nothing: the typical one spans a factor of three.
    assert np.median([np.log(c.upper / c.lower) for c in found]) < np.log(6)


def test_interval_of_a_multiplier_and_a_difference_hold_the_truth() -> None:
    pairs = [measured(seed, (0.15, 0.25), "power", 10, 0.05) for seed in range(100)]
    needed = 10**1.0 / 10 ** (0.15 / 0.25)  # the second reaches 0.4 x 10^-0.15, the first's error at 1e9, at 10^0.6 1e8
    multiples = [m for pair in pairs for m in pair.multipliers if m.at == 1e9]
    # The error itself is drawn with the first law, so the multiplier is that of the laws at x = 1e9.
    low, high = binom.ppf([0.001, 0.999], len(multiples), 0.95)
    assert low <= sum(m.lower <= needed <= m.upper for m in multiples) <= high
    truth = 0.4 * (10**-0.15 - 10**-0.25)
    differences = [d for pair in pairs for d in pair.differences if d.x == 1e9]
    assert low <= sum(d.lower <= truth <= d.upper for d in differences) <= high


def test_two_draws_of_one_law_are_seldom_told_apart() -> None:
    pairs = [measured(seed, (0.2, 0.2), "power", 9, 0.05) for seed in range(100)]
    claims = sum(pair.stretches[-1].ahead is not None for pair in pairs)
    # 5% is the rate that the 95% interval promises; 11 of 100 is three standard errors above it.
    assert claims <= 11
