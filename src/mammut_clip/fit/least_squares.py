"""Levenberg-Marquardt with bounds, for many small problems at once.

The starts of one fit, or a thousand bootstrap replicates, are rows of one array: a step for all of them is a
handful of numpy calls. Parameters at a bound whose gradient points outwards are held for that step (active
set).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mammut_clip.fit.forms import Array

Residuals = Callable[[Array, np.ndarray], tuple[Array, Array]]
"""(theta [A, P], problem index [A]) -> residuals [A, n] and their Jacobian [A, n, P]."""

_IDLE = 1e-12
"""Share of the cost that a step of the parameter's own size gains, below which it gains nothing."""


@dataclass(frozen=True)
class Minimum:
    """Where each of S problems ended."""

    theta: Array
    """[S, P]."""
    cost: Array
    """[S]: sum of squares of the residuals."""
    gradient: Array
    """[S]: largest cosine between the residuals and a free column of the Jacobian; 0 at an optimum."""
    held: np.ndarray
    """[S, P] bool: parameters at a bound."""
    iterations: int


def minimise(residuals: Residuals, start: Array, lower: Array, upper: Array, max_iterations: int = 300) -> Minimum:
    """Minimise each row's sum of squares from start [S, P] within lower, upper [P]."""
    theta = np.clip(start, lower, upper)
    count, width = theta.shape
    everyone = np.arange(count)
    r, jac = residuals(theta, everyone)
    cost = np.einsum("si,si->s", r, r)
    damping, growth = np.full(count, 1e-3), np.full(count, 2.0)
    active = everyone
    iterations = 0
    while active.size and iterations < max_iterations:
        iterations += 1
        step, gain = _step(r[active], jac[active], theta[active], damping[active], lower, upper)
        trial = np.clip(theta[active] + step, lower, upper)
        moved = trial - theta[active]
        r_new, jac_new = residuals(trial, active)
        cost_new = np.einsum("si,si->s", r_new, r_new)
        better = cost_new < cost[active]
        small = np.abs(moved).max(axis=1) < 1e-13
        flat = gain <= 1e-15 * cost[active]
        ratio = (cost[active] - cost_new) / np.maximum(gain, 1e-300)

        taken = active[better]
        theta[taken], r[taken], jac[taken] = trial[better], r_new[better], jac_new[better]
        cost[taken] = cost_new[better]
        damping[taken] *= np.maximum(1.0 / 3.0, 1.0 - (2.0 * np.clip(ratio[better], 0.0, 1.0) - 1.0) ** 3)
        damping[taken] = np.maximum(damping[taken], 1e-15)
        growth[taken] = 2.0
        refused = active[~better]
        damping[refused] *= growth[refused]
        growth[refused] *= 2.0
        active = active[~(small | flat | (damping[active] > 1e18))]
    gradient, held = _optimality(r, jac, theta, lower, upper)
    return Minimum(theta, cost, gradient, held.reshape(count, width), iterations)


def _held(slope: Array, theta: Array, lower: Array, upper: Array) -> np.ndarray:
    """[S, P]: at a bound, with the descent direction leading out of the box."""
    return ((theta <= lower) & (slope >= 0)) | ((theta >= upper) & (slope <= 0))


def _step(r: Array, jac: Array, theta: Array, damping: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Damped Gauss-Newton step [A, P] and the decrease in cost that its linear model promises [A]."""
    slope = np.einsum("sip,si->sp", jac, r)
    held = _held(slope, theta, lower, upper)
    slope = np.where(held, 0.0, slope)
    jac = np.where(held[:, None, :], 0.0, jac)
    normal = np.swapaxes(jac, 1, 2) @ jac
    diagonal = np.einsum("spp->sp", normal)
    # A column can vanish (a shift far below every x); the floor keeps the system solvable without moving that
    # parameter.
    floor = np.maximum(diagonal.max(axis=1, keepdims=True) * 1e-14, 1e-300)
    weights = np.where(held, 1.0, np.maximum(diagonal, floor)) * damping[:, None]
    system = normal + np.eye(theta.shape[1]) * (weights + held)[:, None, :]
    scale = 1.0 / np.sqrt(np.einsum("spp->sp", system))
    step = -scale * np.linalg.solve(system * scale[:, :, None] * scale[:, None, :], (slope * scale)[..., None])[..., 0]
    # A parameter is a logarithm or an error: no step may change it by more than e^3.
    step *= np.minimum(1.0, 3.0 / np.maximum(np.abs(step).max(axis=1, keepdims=True), 1e-300))
    linear = np.einsum("sip,sp->si", jac, step)
    gain = -2.0 * np.einsum("sp,sp->s", slope, step) - np.einsum("si,si->s", linear, linear)
    return step, gain


def _optimality(r: Array, jac: Array, theta: Array, lower: Array, upper: Array) -> tuple[Array, np.ndarray]:
    slope = np.einsum("sip,si->sp", jac, r)
    held = _held(slope, theta, lower, upper)
    lengths = np.sqrt(np.einsum("sip,sip->sp", jac, jac)) * np.sqrt(np.einsum("si,si->s", r, r))[:, None]
    # A parameter that cannot change the cost (a shift of a curve whose amplitude is nothing) has nothing to gain.
    idle = np.abs(slope) * np.maximum(np.abs(theta), 1.0) <= _IDLE * np.einsum("si,si->s", r, r)[:, None]
    cosine = np.where(held | idle, 0.0, np.abs(slope) / np.maximum(lengths, 1e-300))
    return cosine.max(axis=1), held
