"""Scatter of runs and of models about a joint law."""

import numpy as np
import pytest
from known_surfaces import SIZES, grid, noisy

from mammut_clip.config.fit_grid import Surface
from mammut_clip.fit.joint import fit_joint
from mammut_clip.fit.joint.scatter import Scatter, scatter_of

SURFACE = Surface(error_at_zero=0.999)


def scatter(y: np.ndarray, model: np.ndarray) -> Scatter:
    return fit_joint(*grid(), y, SURFACE, models=[str(m) for m in model]).scatter


def test_both_variances_are_found_on_average() -> None:
    """Over 150 grids of 7 models and 11 runs each, whose effects are 1.5% and 1%."""
    model, rng = np.searchsorted(SIZES, grid()[0]), np.random.default_rng(3)
    found = [
        scatter(noisy(rng, "bounded", 0.01) * np.exp(rng.normal(0, 0.015, len(SIZES)))[model], model)
        for _ in range(150)
    ]
    assert np.mean([s.runs for s in found]) == pytest.approx(0.01**2, rel=0.05)
    # 7 models tell a variance to 60%, 150 times 7 to 5%.
    assert np.mean([s.models for s in found]) == pytest.approx(0.015**2, rel=0.15)
    estimated = np.array([s.models for s in found])
    freedom = 2 * estimated.mean() ** 2 / estimated.var()
    assert np.mean([s.models_freedom for s in found]) == pytest.approx(freedom, rel=0.35)


def test_equations_hold_with_the_projection_written_out() -> None:
    model, rng = np.searchsorted(SIZES, grid()[0]), np.random.default_rng(4)
    y = noisy(rng, "bounded", 0.01) * np.exp(rng.normal(0, 0.03, len(SIZES)))[model]
    fit = fit_joint(*grid(), y, SURFACE).fit
    found, jacobian = scatter_of(fit, model), fit.jacobian()
    over = np.eye(len(y)) - jacobian @ np.linalg.pinv(jacobian)
    z = np.eye(len(SIZES))[model]
    r, v = fit.residuals(), found.runs * np.eye(len(y)) + found.models * z @ z.T
    assert r @ r == pytest.approx(np.trace(over @ v))
    assert r @ z @ z.T @ r == pytest.approx(np.trace(over @ v @ over @ z @ z.T))


def test_jacobian_is_the_derivative_of_the_residuals() -> None:
    from dataclasses import replace

    fit = fit_joint(*grid(), noisy(np.random.default_rng(1), "bounded", 0.02), SURFACE).fit
    step = 1e-6
    for p in range(len(fit.theta)):
        ahead, behind = (replace(fit, theta=fit.theta + sign * step * np.eye(5)[p]) for sign in (1, -1))
        slope = -(ahead.residuals() - behind.residuals()) / (2 * step)
        np.testing.assert_allclose(fit.jacobian()[:, p], slope, atol=1e-6)


def test_runs_that_are_models_of_their_own_have_one_variance() -> None:
    law = fit_joint(*grid(), noisy(np.random.default_rng(2), "bounded", 0.02), SURFACE)
    r = law.fit.residuals()
    assert law.scatter.models == 0
    assert law.scatter.runs == pytest.approx(r @ r / law.fit.degrees_of_freedom)
