"""Profile likelihood: how far an exponent or an irreducible error can move before the data object."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammut_clip.fit.forms import Array
from mammut_clip.fit.least_squares import minimise
from mammut_clip.fit.optimise import Fit

PROFILED = ("c", "c0", "c1", "d")
"""Exponents and irreducible errors: each depends on one internal parameter alone."""
_GRID, _ROUNDS = 33, 3


@dataclass(frozen=True)
class Profile:
    """The likelihood interval of one parameter, all others refitted."""

    parameter: str
    value: float
    lower: float | None
    """None: no value, however low, is excluded by the data."""
    upper: float | None
    level: float


def profiles(fit: Fit, level: float = 0.95) -> tuple[Profile, ...]:
    """Intervals of the exponents and the irreducible error of a fit (none where no point is left over).

    Values at which the minimised sum, a prior's pull included, grows by less than F(level; 1, v) s^2, with s the
    scatter and v its degrees of freedom: for a linear parameter without a prior that is Student's interval (Bates and
    Watts 1988, section 6.1).
    """
    if fit.degrees_of_freedom < 1:
        return ()
    return tuple(_profile(fit, k, level) for k, name in enumerate(fit.form.parameters) if name in PROFILED)


def _profile(fit: Fit, index: int, level: float) -> Profile:
    from scipy.special import fdtri  # scipy.stats takes half a second to load

    freedom = fit.degrees_of_freedom
    least = float(_cost_at(fit, index, fit.theta[index : index + 1])[0])
    limit = least + fit.scatter**2 * float(fdtri(1, freedom, level))
    bounds = fit.form.bounds(fit.x / fit.scale, fit.y)
    ends = [_end(fit, index, float(bound[index]), limit) for bound in bounds]
    low, high = (None if end is None else _natural(fit, index, end) for end in ends)
    if fit.form.parameters[index] != "d":  # an exponent is minus the exponential of its internal parameter
        low, high = high, low
    return Profile(fit.form.parameters[index], _natural(fit, index, float(fit.theta[index])), low, high, level)


def _end(fit: Fit, index: int, bound: float, limit: float) -> float | None:
    """The internal value nearest to the optimum, towards a bound, at which the cost exceeds the limit; None where it
    never does."""
    near, far = float(fit.theta[index]), bound
    for _ in range(_ROUNDS):
        # Denser near the optimum, where the end is looked for first.
        values = near + (far - near) * np.linspace(0.0, 1.0, _GRID) ** 2
        above = np.flatnonzero(_cost_at(fit, index, values) > limit)
        if not above.size:
            return None
        far, near = float(values[above[0]]), float(values[max(above[0] - 1, 0)])
    return 0.5 * (near + far)


def _cost_at(fit: Fit, index: int, values: Array) -> Array:
    """[S]: the least sum with one internal parameter fixed at each of values [S]."""
    others = np.arange(len(fit.theta)) != index
    problem = fit.problems(len(values))

    def residuals(theta: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        full = np.empty((len(theta), len(fit.theta)))
        full[:, others], full[:, index] = theta, values[rows]
        r, jac = problem.residuals(full, rows)
        return r, jac[..., others]

    lower, upper = fit.form.bounds(fit.x / fit.scale, fit.y)
    start = np.repeat(fit.theta[None, others], len(values), axis=0)
    return minimise(residuals, start, lower[others], upper[others]).cost


def _natural(fit: Fit, index: int, value: float) -> float:
    theta = fit.theta.copy()
    theta[index] = value
    return float(fit.form.natural(theta, fit.scale)[index])
