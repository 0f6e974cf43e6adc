"""Spaces of residuals undo themselves; Huber's loss is scipy's."""

import numpy as np
import pytest
from scipy.special import expit, huber, logit

from mammut_clip.config.fit import ResidualName
from mammut_clip.fit.residuals import Space, huber_root

NAMES: tuple[ResidualName, ...] = ("raw", "log", "logit")


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back_with_the_right_slope(name: ResidualName) -> None:
    space, y = Space(name), np.linspace(0.01, 0.99, 30)
    np.testing.assert_allclose(space.backward(space.forward(y)), y, rtol=1e-12)
    numeric = (space.forward(y + 1e-7) - space.forward(y - 1e-7)) / 2e-7
    np.testing.assert_allclose(space.slope(y), numeric, rtol=1e-6)


def test_logit_is_scipys() -> None:
    y = np.array([1e-6, 0.3, 0.999])
    np.testing.assert_allclose(Space("logit").forward(y), logit(y), rtol=1e-12)
    np.testing.assert_allclose(Space("logit").backward(np.array([-3.0, 5.0])), expit([-3.0, 5.0]), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_curves_that_leave_the_range_stay_finite(name: ResidualName) -> None:
    wild = np.array([-1.0, 0.0, 1.0, 1e6])
    assert np.isfinite(Space(name).forward(wild)).all() and np.isfinite(Space(name).slope(wild) ** 2).all()


def test_an_error_is_never_negative() -> None:
    np.testing.assert_array_equal(Space("raw").backward(np.array([-0.1, 0.2])), [0.0, 0.2])


def test_values_without_a_place_are_named() -> None:
    y = np.array([-0.1, 0.0, 0.5, 1.0])
    assert Space("raw").problem(y)[0].tolist() == [True, False, False, False]
    assert Space("log").problem(y)[0].tolist() == [True, True, False, False]
    assert Space("logit").problem(y)[0].tolist() == [True, True, False, True]


def test_squares_of_huber_roots_are_twice_hubers_loss() -> None:
    r = np.linspace(-3, 3, 61)
    root, slope = huber_root(r, 0.7)
    np.testing.assert_allclose(root**2, 2 * huber(0.7, r), rtol=1e-12)
    numeric = (huber_root(r + 1e-7, 0.7)[0] - huber_root(r - 1e-7, 0.7)[0]) / 2e-7
    np.testing.assert_allclose(slope, numeric, atol=1e-6)
