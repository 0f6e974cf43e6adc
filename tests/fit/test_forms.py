"""Each form's derivatives are exact, its parameters mean what they say, and related forms agree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config.errors import InputError
from mammut_clip.fit.forms import FORMS, Form, get_form

THETA = {
    "power": [np.log(0.4), np.log(0.3)],
    "line": [np.log(0.4), 0.7],
    "saturation_no_floor": [np.log(0.4), np.log(0.05), np.log(0.3)],
    "saturation": [np.log(0.4), np.log(0.05), np.log(0.3), 0.1],
    "bounded_no_floor": [np.log(0.05), np.log(0.3)],
    "bounded": [np.log(0.05), np.log(0.3), 0.1],
    "broken_power": [np.log(0.4), np.log(0.1), np.log(2.0), np.log(0.35), np.log(0.6)],
}
CASES = [*FORMS.values(), get_form("bounded", 0.9), get_form("bounded_no_floor", 0.9)]


def differences(of, theta: np.ndarray) -> np.ndarray:
    """Central differences of a function of theta, along a last axis of its own."""
    steps = np.eye(len(theta)) * 1e-6
    return np.stack([(of(theta + s) - of(theta - s)) / 2e-6 for s in steps], axis=-1)


@pytest.mark.parametrize("form", CASES, ids=lambda form: form.name)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_derivatives_agree_with_finite_differences(form: Form, seed: int) -> None:
    rng, x = np.random.default_rng(seed), np.geomspace(1e-3, 1e3, 9)
    theta = np.array(THETA[form.name]) + rng.uniform(-0.1, 0.1, len(form.parameters))
    by_theta = differences(lambda t: form.value(t[None], x)[0], theta)
    np.testing.assert_allclose(form.jacobian(theta[None], x)[0], by_theta, atol=2e-8)
    by_natural = differences(lambda t: form.natural(t, 7.0), theta)
    np.testing.assert_allclose(form.natural_jacobian(theta, 7.0), by_natural, rtol=1e-6, atol=1e-7)
    params = dict(zip(form.parameters, form.natural(theta, 7.0), strict=True))
    np.testing.assert_allclose(form.evaluate(params, 7.0 * x), form.value(theta[None], x)[0], rtol=1e-12)


@pytest.mark.parametrize("form", CASES, ids=lambda form: form.name)
def test_the_grid_of_starts_is_the_curve_less_its_linear_part(form: Form) -> None:
    x = np.geomspace(1e-2, 1e2, 6)
    grid = form.candidates(x)
    coefficients = np.full((len(grid.theta), grid.basis.shape[-1]), 0.3)
    curve = grid.offset + np.einsum("gil,gl->gi", grid.basis, coefficients)
    np.testing.assert_allclose(form.value(form.with_linear(grid.theta, coefficients), x), curve, rtol=1e-10)


@pytest.mark.parametrize(("name", "floor"), [("bounded", 0.12), ("bounded_no_floor", 0.0)])
def test_bounded_laws_are_saturating_ones_that_start_at_chance(name: str, floor: float) -> None:
    form, x = get_form(name, 0.998), np.geomspace(1.0, 1e12, 40)
    params = {"b": 5e7, "c": -0.24, "d": floor}
    saturating = {"a": (0.998 - floor) * 5e7**0.24, **params}
    np.testing.assert_allclose(form.evaluate(params, x), FORMS["saturation"].evaluate(saturating, x), rtol=1e-12)
    assert form.evaluate(params, np.array([1e-9]))[0] == pytest.approx(0.998)


def test_slopes_on_either_side_of_a_break() -> None:
    form, params = FORMS["broken_power"], {"a": 3.0, "c0": -0.05, "b": 1e6, "c1": -0.4, "f": 0.3}

    def slope(at: float) -> float:
        low, high = np.log(form.evaluate(params, np.array([at, at * 1.01])))
        return float((high - low) / np.log(1.01))

    assert slope(1e2) == pytest.approx(-0.05, abs=1e-4)
    assert slope(1e10) == pytest.approx(-0.4, abs=1e-4)
    assert slope(1e6) == pytest.approx(-0.225, abs=2e-3)
    assert form.evaluate(params, np.array([10.0]))[0] == pytest.approx(3.0 * 10.0**-0.05)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean bounded"):
        get_form("boundd")
