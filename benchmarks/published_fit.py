"""The fitting procedure of arXiv:2506.04598, written anew from its description: the peer of our fits.

E(C) = a (C + b)^c + d by scipy's curve_fit with a, b, d >= 0 and c <= 0, once from every point of a grid of 3,200
starts, the best by sum of squares kept; without d, from one start. Compute (GFLOPs) and parameters enter as they are:
shifts come out near 1e8 and are started below 100. What is reported of the shift is its logarithm.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

GRID = tuple(product(range(0, 100, 5), range(0, 100, 5), (-0.2, -0.15, -0.1, -0.05), (0.0, 5e-4)))
"""The 3,200 starts (a, b, c, d)."""
ONE_START = ((10.0, 10.0, -0.1),)
"""The start (a, b, c) of the form without d."""
AT_OPTIMUM = 1e-6
"""A start reached the optimum where its sum of squares is within this share of the least."""


@dataclass(frozen=True, eq=False)
class PublishedFit:
    """One law fitted in the published way."""

    theta: Array
    """[P]: a, b, c and, in the four-parameter form, d."""
    covariance: Array
    """[P, P], curve_fit's own."""
    sums: Array
    """[starts] sum of squares that each start reached; infinite where it failed."""
    points: int
    x_range: tuple[float, float]

    @property
    def sse(self) -> float:
        """The least sum of squares."""
        return float(self.sums.min())

    @property
    def starts_at_optimum(self) -> int:
        """How many starts reached the least sum of squares."""
        return int((self.sums <= self.sse * (1.0 + AT_OPTIMUM)).sum())

    def predict(self, x: Array) -> Array:
        """E at x [m]."""
        return _curve(x, *self.theta)

    def predict_interval(self, x: Array, level: float = 0.95) -> tuple[Array, Array]:
        """The published "95%" interval at x [m]: E -+ ln(t) s.

        s is the curve's standard error to first order from curve_fit's covariance, without the scatter of
        measurements; t is Student's quantile at points - parameters degrees of freedom, of which the scripts take the
        logarithm.
        """
        from scipy.stats import t

        jacobian = _jacobian(x, self.theta)
        error = np.sqrt(np.einsum("ip,pq,iq->i", jacobian, self.covariance, jacobian))
        quantile = np.log(t.ppf((1.0 + level) / 2.0, self.points - len(self.theta)))
        centre = self.predict(x)
        return centre - quantile * error, centre + quantile * error


def fit_published(x: Array, y: Array, starts: Sequence[tuple[float, ...]]) -> PublishedFit:
    """Fit from each of the starts, all with three values or all with four. x: [n] GFLOPs, y: [n] errors.

    Raises RuntimeError where every start fails.
    """
    from scipy.optimize import curve_fit

    bounds = ([0.0, 0.0, -np.inf, 0.0], [np.inf, np.inf, 0.0, np.inf])
    within = tuple(ends[: len(starts[0])] for ends in bounds)
    sums = np.full(len(starts), np.inf)
    best: tuple[Array, Array] | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflow on the way, and covariances that cannot be estimated
        for i, start in enumerate(starts):
            try:
                theta, covariance = curve_fit(_curve, x, y, p0=start, bounds=within, maxfev=1_000_000)
            except (RuntimeError, ValueError):  # no convergence, or a value that is not finite
                continue
            sums[i] = np.sum((_curve(x, *theta) - y) ** 2)
            if best is None or sums[i] < sums[:i].min():
                best = theta, covariance
    if best is None:
        raise RuntimeError(f"none of {len(starts)} starts converged")
    return PublishedFit(*best, sums, len(x), (float(x.min()), float(x.max())))


def _curve(x: Array, a: float, b: float, c: float, d: float = 0.0) -> Array:
    return np.asarray(a * np.power(x + b, c) + d)


def _jacobian(x: Array, theta: Array) -> Array:
    """[m, P]."""
    a, b, c = theta[:3]
    power = np.power(x + b, c)
    columns = [power, a * c * power / (x + b), a * power * np.log(x + b), np.ones_like(x)]
    return np.stack(columns[: len(theta)], axis=1)
