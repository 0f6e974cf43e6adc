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
from mammut_clip.fit.quantiles import middle
from mammut_clip.fit.redraw import Redrawn


@dataclass(frozen=True)
class Bootstrap:
    """How the refits are drawn; the same values give the same draws."""

    method: BootstrapName = "residual"
    count: int = 1000
    seed: int = 0
    rows: Redrawn | None = None
    """For cells and runs: the rows that are drawn from. Without it each fitted point is a run of its own."""


RESIDUALS = Bootstrap()
"""A thousand refits to redrawn residuals."""


@lru_cache(maxsize=256)
def ensemble(fit: Fit, bootstrap: Bootstrap) -> Array:
    """Internal parameters [count, P] of the refits. Raises InputError where no point is left to judge the
    scatter by."""
    if fit.degrees_of_freedom < 1:
        raise InputError(
            f"an interval needs more points than parameters: {len(fit.x)} points, "
            f"{len(fit.form.parameters)} parameters of {fit.form.name};"
            " take a form with fewer parameters, or fit it to more points"
        )
    centres = _prior_centres(fit, bootstrap)
    if bootstrap.method == "residual":
        y = _redrawn_residuals(fit, bootstrap)
        return fit.refit(y, np.repeat(fit.weights[None], bootstrap.count, axis=0), centres).theta
    rows = bootstrap.rows or Redrawn.of_points(fit.x, fit.y, fit.weights)
    x, y, weights = rows.draw(bootstrap.count, bootstrap.seed, needed=len(fit.form.parameters))
    return fit.refit(np.repeat(y[None], bootstrap.count, axis=0), weights, centres, x).theta


def predict_interval(fit: Fit, x: Array, level: float, bootstrap: Bootstrap) -> tuple[Array, Array]:
    """Lower and upper ends [m] of an interval for one new measurement at each of x [m].

    Deviations of the refits plus normal noise of the residuals' spread, both times sqrt(v / chi2_v) with v
    degrees of freedom: for a linear model that is the textbook Student interval. Errors are never negative,
    nor are the ends.
    """
    return _ends(fit, law_deviates(fit, x, bootstrap) + noise_deviates(fit, bootstrap), level)


def law_interval(fit: Fit, x: Array, level: float, bootstrap: Bootstrap) -> tuple[Array, Array]:
    """Lower and upper ends [m] of an interval for the law itself, without the scatter of single runs."""
    return _ends(fit, law_deviates(fit, x, bootstrap), level)


def curves(fit: Fit, x: Array, bootstrap: Bootstrap) -> Array:
    """[count, m]: draws of the law at x [m], from which intervals of anything computed from it follow."""
    return fit.objective.space.backward(law_deviates(fit, x, bootstrap))


def law_deviates(fit: Fit, x: Array, bootstrap: Bootstrap) -> Array:
    """[count, m]: refits at x in the space of the residuals, widened by the ignorance of the scatter."""
    thetas = ensemble(fit, bootstrap)
    centre = fit.model(fit.theta[None], x)[0]
    return np.asarray(centre + _inflation(fit, bootstrap) * (fit.model(thetas, x) - centre))


def noise_deviates(fit: Fit, bootstrap: Bootstrap) -> Array:
    """[count, 1]: scatter of one new measurement in the space of the residuals, widened likewise."""
    rng = np.random.default_rng([bootstrap.seed, 3])
    return np.asarray(fit.scatter * _inflation(fit, bootstrap) * rng.standard_normal((bootstrap.count, 1)))


def _inflation(fit: Fit, bootstrap: Bootstrap) -> Array:
    """[count, 1]: sqrt(v / chi2_v)."""
    rng = np.random.default_rng([bootstrap.seed, 2])
    freedom = fit.degrees_of_freedom
    return np.asarray(np.sqrt(freedom / rng.chisquare(freedom, size=(bootstrap.count, 1))))


def _prior_centres(fit: Fit, bootstrap: Bootstrap) -> Array | None:
    """[count]: the prior's log exponent drawn anew for each refit, so that its own width is in the draws."""
    prior = fit.objective.prior
    if prior is None or fit.prior_weight == 0.0:
        return None
    rng = np.random.default_rng([bootstrap.seed, 4])
    return np.log(prior.median) + np.log(prior.factor) * rng.standard_normal(bootstrap.count)


def _redrawn_residuals(fit: Fit, bootstrap: Bootstrap) -> Array:
    """[count, n]: the law plus its residuals in another order, drawn with replacement."""
    rng = np.random.default_rng([bootstrap.seed, 1])
    space, root = fit.objective.space, np.sqrt(fit.weights)
    model = fit.model(fit.theta[None], fit.x)[0]
    scatter = (space.forward(fit.y) - model) * root
    # Residuals are smaller than errors: at each point by 1 - leverage, the pull of the point on its own
    # prediction.
    scatter = scatter / np.sqrt(np.maximum(1.0 - _leverage(fit), 0.1))
    scatter = scatter - scatter.mean()
    drawn = scatter[rng.integers(len(scatter), size=(bootstrap.count, len(scatter)))]
    return space.backward(model + drawn / root)


def _ends(fit: Fit, draws: Array, level: float) -> tuple[Array, Array]:
    low, high = middle(draws, level)
    return interval_end(fit, low), interval_end(fit, high)


def interval_end(fit: Fit, end: Array) -> Array:
    """The error that an end in the space of the residuals stands for: none above the largest that can be measured, nor
    above 1 where guessing is not either."""
    ceiling = fit.form.ceiling
    largest = fit.objective.largest if ceiling is None or ceiling > 1.0 else 1.0
    return np.minimum(fit.objective.space.backward(end), largest)


def _leverage(fit: Fit) -> Array:
    q, _ = np.linalg.qr(fit.jacobian[:, ~fit.held])
    return np.einsum("ip,ip->i", q, q)
