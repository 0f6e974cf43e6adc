"""Linear-Gaussian design against the textbook formula of least squares, and greedy sequences against all subsets."""

from itertools import combinations

import numpy as np
import pytest

from mammut_clip.fit.planning.design import Design, affordable_sequence

RNG = np.random.default_rng(3)
POINTS = RNG.normal(size=(12, 3))
"""Jacobian of 12 points by 3 parameters."""
TARGET = np.array([1.0, -0.5, 2.0])
PLACES = RNG.normal(size=(4, 3)) * 2
S2 = 0.3


def variance_after(*rows: int) -> float:
    """s^2 g' (J'J + sum of j j')^-1 g."""
    normal = POINTS.T @ POINTS + sum((np.outer(PLACES[r], PLACES[r]) for r in rows), np.zeros((3, 3)))
    return float(S2 * TARGET @ np.linalg.solve(normal, TARGET))


def exact_design(chance: float = 1.0) -> Design:
    covariance = S2 * np.linalg.inv(POINTS.T @ POINTS)
    own = PLACES @ covariance @ PLACES.T
    widened = (np.diag(own) + S2) / chance - np.diag(own)
    return Design(variance_after(), PLACES @ covariance @ TARGET, own, widened, 1e-12)


def drawn_design(count: int = 200_000, chance: float = 1.0) -> Design:
    covariance = S2 * np.linalg.inv(POINTS.T @ POINTS)
    theta = np.random.default_rng(0).multivariate_normal(np.zeros(3), covariance, size=count)
    return Design.of_draws(theta @ TARGET, theta @ PLACES.T, np.full(4, S2), np.full(4, chance))


def test_one_more_row_of_the_jacobian() -> None:
    expected = [variance_after() - variance_after(r) for r in range(4)]
    assert exact_design().removed == pytest.approx(expected, rel=1e-9)


def test_several_rows_in_any_order() -> None:
    for first, second in ((0, 2), (2, 0), (1, 1)):
        after = exact_design().after(first).after(second)
        assert after.variance == pytest.approx(variance_after(first, second), rel=1e-9)


def test_draws_give_the_same_but_for_their_tails() -> None:
    exact, drawn = exact_design(), drawn_design()
    assert drawn.variance == pytest.approx(exact.variance, rel=0.03)
    assert drawn.removed / drawn.variance == pytest.approx(exact.removed / exact.variance, abs=0.01)


def test_a_measurement_that_counts_sometimes_removes_that_share() -> None:
    assert exact_design(chance=0.4).removed == pytest.approx(0.4 * exact_design().removed, rel=1e-9)
    drawn, never = drawn_design(), drawn_design(chance=0.0)
    assert drawn_design(chance=0.4).removed == pytest.approx(0.4 * drawn.removed, rel=1e-9)
    assert (never.removed == 0).all()
    assert never.after(0).variance == never.variance


def test_chance_correlations_count_as_none() -> None:
    rng = np.random.default_rng(5)
    target, unrelated = rng.normal(size=1000), rng.normal(size=(1000, 200))
    design = Design.of_draws(target, unrelated, np.zeros(200), np.ones(200))
    assert (design.removed > 0).mean() < 0.02
    related = Design.of_draws(target, (target + 0.5 * unrelated[:, 0])[:, None], np.zeros(1), np.ones(1))
    assert related.removed[0] / related.variance == pytest.approx(0.8, abs=0.05)


def test_a_refit_that_ran_away_does_not_decide() -> None:
    rng = np.random.default_rng(6)
    target = rng.normal(size=1000)
    place = target + rng.normal(size=1000)
    calm = Design.of_draws(target, place[:, None], np.ones(1), np.ones(1))
    target[7], place[7] = 1e6, -1e6
    wild = Design.of_draws(target, place[:, None], np.ones(1), np.ones(1))
    assert wild.removed[0] / wild.variance == pytest.approx(calm.removed[0] / calm.variance, abs=0.03)


def test_a_budget_is_kept_and_nothing_is_bought_twice() -> None:
    design, hours = exact_design(), np.array([5.0, 1.0, 3.0, 2.0])
    for budget in (0.0, 0.5, 1.0, 4.0, 6.0, 11.0, 100.0):
        chosen = affordable_sequence(design, hours, budget)
        assert len(set(chosen)) == len(chosen)
        assert hours[chosen].sum() <= budget
    assert sorted(affordable_sequence(design, hours, 100.0)) == [0, 1, 2, 3]
    assert affordable_sequence(design, hours, 0.5) == []


def test_a_trifle_does_not_eat_the_budget() -> None:
    """Per hour the cheap place is better, and after it the dear one cannot be paid any more."""
    covariance = np.diag([1.0, 1.0])
    design = Design(1.0, np.array([0.3, 0.9]), covariance, np.array([0.1, 0.1]), 1e-9)
    assert affordable_sequence(design, np.array([1.0, 100.0]), 100.0) == [1]
    assert affordable_sequence(design, np.array([1.0, 100.0]), 101.0) == [0, 1]


def test_greedy_sequences_come_close_to_the_best_subset() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        mixed = rng.normal(size=(8, 8))
        joint = mixed @ mixed.T
        hours = rng.uniform(1, 5, 7)
        design = Design(joint[0, 0], joint[0, 1:], joint[1:, 1:], np.full(7, 2.0), 1e-9)

        def left(places: tuple[int, ...] | list[int], design: Design = design) -> float:
            for place in places:
                design = design.after(place)
            return design.variance

        subsets = (c for n in range(8) for c in combinations(range(7), n) if hours[list(c)].sum() <= 10)
        best = min(left(c) for c in subsets)
        found = left(affordable_sequence(design, hours, 10.0))
        assert joint[0, 0] - found > 0.8 * (joint[0, 0] - best)
