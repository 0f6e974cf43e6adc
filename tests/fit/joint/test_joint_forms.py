"""Joint forms: derivatives, limits, natural parameters, and the linear elimination behind their starts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from mammut_clip.config.fit_grid import Surface, SurfaceName
from mammut_clip.fit.joint.forms import JointForm, joint_form
from mammut_clip.fit.joint.starts import non_negative

NAMES: tuple[SurfaceName, ...] = ("chinchilla", "interaction", "bounded")
U, V = (side.ravel() for side in np.meshgrid(np.linspace(-2, 2, 5), np.linspace(-4, 3, 6)))


def form_of(name: SurfaceName) -> JointForm:
    return joint_form(Surface(form=name, error_at_zero=0.999))


def value(form: JointForm, theta: np.ndarray) -> np.ndarray:
    return form.value_and_jacobian(theta[None], U, V)[0][0]


@pytest.mark.parametrize("name", NAMES)
@given(st.lists(st.floats(-1.5, 1.0), min_size=6, max_size=6))
def test_jacobian_is_the_derivative(name: SurfaceName, numbers: list[float]) -> None:
    form = form_of(name)
    theta = np.array(numbers)[: len(form.parameters)]
    theta[4] = abs(theta[4])
    _, jacobian = form.value_and_jacobian(theta[None], U, V)
    for i in range(len(theta)):
        step = np.zeros_like(theta)
        step[i] = 1e-5
        slope = (value(form, theta + step) - value(form, theta - step)) / 2e-5
        np.testing.assert_allclose(jacobian[0, :, i], slope, rtol=2e-5, atol=1e-7 * np.abs(jacobian[0]).max())


@pytest.mark.parametrize("name", NAMES)
def test_natural_parameters_give_the_same_surface(name: SurfaceName) -> None:
    form, centre = form_of(name), (3.0, 18.0)
    theta = np.array([-0.5, -1.0, -0.2, -0.7, 0.1, 0.6])[: len(form.parameters)]
    named = dict(zip(form.parameters, form.natural(theta[None], centre)[0], strict=True))
    size, samples = np.exp(U + centre[0]), np.exp(V + centre[1])
    a, b = named["A"] * size ** -named["alpha"], named["B"] * samples ** -named["beta"]
    p = named.get("p", 1.0)
    s = named["E"] + (a**p + b**p) ** (1 / p)
    expected = 0.999 * s / np.sqrt(1 + s**2) if name == "bounded" else s
    np.testing.assert_allclose(value(form, theta), expected, rtol=1e-12)


def test_interaction_holds_chinchilla_and_kaplan() -> None:
    theta = np.array([-0.5, -1.0, -0.2, -0.7, 0.1])
    one = value(form_of("interaction"), np.append(theta, 0.0))
    np.testing.assert_allclose(one, value(form_of("chinchilla"), theta), rtol=1e-12)
    # Kaplan et al. 2020, equation 1.5: ((Nc / N)^(aN / aD) + Dc / D)^aD.
    nc, an, dc, ad = 8.8e13, 0.076, 5.4e13, 0.095
    size, samples = np.exp(U + 20), np.exp(V + 24)
    kaplan = ((nc / size) ** (an / ad) + dc / samples) ** ad
    ours = np.array([an * np.log(nc) - an * 20, np.log(an), ad * np.log(dc) - ad * 24, np.log(ad), 0.0, -np.log(ad)])
    np.testing.assert_allclose(value(form_of("interaction"), ours), kaplan, rtol=1e-10)


def test_bounded_is_linear_when_small_and_chance_when_large() -> None:
    form, chinchilla = form_of("bounded"), form_of("chinchilla")
    small, large = np.array([-9.0, -1.0, -9.0, -1.0, 0.0]), np.array([9.0, -1.0, 9.0, -1.0, 0.0])
    np.testing.assert_allclose(value(form, small), 0.999 * value(chinchilla, small), rtol=1e-4)
    np.testing.assert_allclose(value(form, large), 0.999, rtol=1e-4)
    y = np.array([1e-3, 0.2, 0.9])
    s, slope = form.linear_target(y)
    np.testing.assert_allclose(0.999 * s / np.sqrt(1 + s**2), y, rtol=1e-12)
    higher, _ = form.linear_target(y * (1 + 1e-6))
    np.testing.assert_allclose(1 / slope, (higher - s) / (y * 1e-6), rtol=1e-4)


@given(st.integers(0, 10_000))
def test_elimination_is_non_negative_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    basis, target = rng.normal(size=(4, 12, 3)), rng.normal(size=12)
    found, cost = non_negative(basis, target)
    for i in range(4):
        expected, norm = nnls(basis[i], target)
        np.testing.assert_allclose(found[i], expected, atol=1e-8)
        assert cost[i] == pytest.approx(norm**2, rel=1e-8)
