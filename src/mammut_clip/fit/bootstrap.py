"""How far a fitted law could be off: refits to redrawn data, and intervals for new measurements.

A law is refitted to many data sets like its own. A prediction interval adds the scatter of single runs about
the law, and both are widened by the ignorance of that scatter, so that six points give an honest (wide)
interval.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import BootstrapName
from mammut_clip.fit.forms import Array
from mammut_clip.fit.optimise import Fit


@dataclass(frozen=True)
class Bootstrap:
    """How the refits are drawn; the same values give the same draws."""

    method: BootstrapName = "residual"
    count: int = 1000
    seed: int = 0


@lru_cache(maxsize=256)
def ensemble(fit: Fit, bootstrap: Bootstrap) -> Array:
    """Internal parameters [count, P] of the refits. Raises InputError where no point is left to judge the
    scatter by."""
    if fit.degrees_of_freedom < 1:
        raise InputError(
            f"an interval needs more points than parameters: {len(fit.x)} points, "
            f"{len(fit.form.parameters)} parameters of {fit.form.name};"
            " take a form with fewer parameters or hold out less"
        )
    rng = np.random.default_rng([bootstrap.seed, 1])
    if bootstrap.method == "case":
        weights = _case_weights(rng, len(fit.x), len(fit.form.parameters), bootstrap.count)
        return fit.refit(np.repeat(fit.y[None], bootstrap.count, axis=0), weights).theta
    model = _model(fit, fit.theta[None], fit.x)[0]
    scatter = (np.log(fit.y) if fit.residuals == "log" else fit.y) - model
    # Residuals are smaller than errors: at each point by 1 - leverage, the pull of the point on its own
    # prediction.
    scatter = scatter / np.sqrt(np.maximum(1.0 - _leverage(fit), 0.1))
    scatter = scatter - scatter.mean()
    replicate = model + scatter[rng.integers(len(scatter), size=(bootstrap.count, len(scatter)))]
    replicate = np.exp(replicate) if fit.residuals == "log" else replicate
    return fit.refit(replicate, np.ones_like(replicate)).theta


def predict_interval(fit: Fit, x: Array, level: float, bootstrap: Bootstrap) -> tuple[Array, Array]:
    """Lower and upper ends [m] of an interval for one new measurement at each of x [m].

    Deviations of the refits plus normal noise of the residuals' spread, both times sqrt(v / chi2_v) with v
    degrees of freedom: for a linear model that is the textbook Student interval. Errors are never negative,
    nor are the ends.
    """
    draws, inflation = _law_draws(fit, x, bootstrap)
    rng = np.random.default_rng([bootstrap.seed, 3])
    noise = np.sqrt(fit.cost / fit.degrees_of_freedom) * rng.standard_normal((len(draws), 1))
    return _ends(fit, draws + inflation * noise, level)


def law_interval(fit: Fit, x: Array, level: float, bootstrap: Bootstrap) -> tuple[Array, Array]:
    """Lower and upper ends [m] of an interval for the law itself, without the scatter of single runs."""
    return _ends(fit, _law_draws(fit, x, bootstrap)[0], level)


def curves(fit: Fit, x: Array, bootstrap: Bootstrap) -> Array:
    """[count, m]: draws of the law at x [m], from which intervals of anything computed from it follow."""
    draws, _ = _law_draws(fit, x, bootstrap)
    return np.exp(draws) if fit.residuals == "log" else draws


def _law_draws(fit: Fit, x: Array, bootstrap: Bootstrap) -> tuple[Array, Array]:
    """Refits at x [count, m] in the space of the residuals, and the factor [count, 1] that widens them."""
    thetas = ensemble(fit, bootstrap)
    rng = np.random.default_rng([bootstrap.seed, 2])
    freedom = fit.degrees_of_freedom
    inflation = np.sqrt(freedom / rng.chisquare(freedom, size=(len(thetas), 1)))
    centre = _model(fit, fit.theta[None], x)[0]
    return centre + inflation * (_model(fit, thetas, x) - centre), inflation


def _ends(fit: Fit, draws: Array, level: float) -> tuple[Array, Array]:
    low, high = np.quantile(draws, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return (np.exp(low), np.exp(high)) if fit.residuals == "log" else (np.maximum(low, 0.0), np.maximum(high, 0.0))


def _model(fit: Fit, theta: Array, x: Array) -> Array:
    """[S, m] in the space of the residuals."""
    value = fit.form.value(theta, x / fit.scale)
    return np.log(np.maximum(value, 1e-300)) if fit.residuals == "log" else value


def _leverage(fit: Fit) -> Array:
    q, _ = np.linalg.qr(fit.jacobian[:, ~fit.held])
    return np.einsum("ip,ip->i", q, q)


def _case_weights(rng: np.random.Generator, points: int, parameters: int, count: int) -> Array:
    """How often each point is drawn [count, points]; draws with too few different points for the form are
    drawn again."""
    weights = np.zeros((count, points))
    missing = np.arange(count)
    while missing.size:
        weights[missing] = rng.multinomial(points, np.full(points, 1.0 / points), size=missing.size)
        missing = missing[(weights[missing] > 0).sum(axis=1) < parameters]
    return weights
