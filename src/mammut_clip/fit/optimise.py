"""Points -> the best curve of a form, with the evidence that it is the best.

A grid over shift and exponent is scored with the linear parameters (amplitude, floor) eliminated in closed
form under non-negativity; its local minima start at most eight Levenberg-Marquardt searches with the analytic
Jacobian.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammut_clip.config.fit import ExponentPrior, ResidualName
from mammut_clip.fit.forms import TINY, Array, Form
from mammut_clip.fit.least_squares import Minimum, minimise
from mammut_clip.fit.residuals import Space, huber_root
from mammut_clip.fit.search import BestStart, best_start

STARTS = 8
_SHARED_MISFIT = 3.0
"""Neighbouring points miss a law together, so that n of them say as much as n / 9 independent ones would. Chosen once,
on the paper's runs up to 1e10 GFLOPs alone (docs/fitting.md)."""


@dataclass(frozen=True)
class Objective:
    """What a fit minimises."""

    residuals: ResidualName = "raw"
    huber_delta: float | None = None
    """Huber's loss beyond residuals of this size; squares where it is None."""
    prior: ExponentPrior | None = None
    """What is known of the exponent before any point is seen; forms without an exponent ignore it."""
    largest: float = np.inf
    """Largest value that a measurement can have, 1 for errors: no interval reaches beyond."""

    @property
    def space(self) -> Space:
        """Where residuals are taken."""
        return Space(self.residuals)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit(BestStart):
    """One fitted curve in internal parameters, with the points it was fitted to."""

    form: Form
    objective: Objective
    x: Array
    """[n], as given."""
    weights: Array
    """[n]: factors of the squared residuals, mean 1."""
    scale: float
    """Geometric mean of x."""
    jacobian: Array
    """[n, P] of the weighted model, in the space of the residuals, at theta."""
    cost: float
    """Sum of weighted squared residuals (twice the Huber losses, where those were minimised), without the prior."""
    prior_weight: float
    """Root of the prior's weight: scatter of a residual over the prior's deviation; 0 without a prior."""

    @property
    def residuals(self) -> ResidualName:
        """Name of the space of the residuals."""
        return self.objective.residuals

    @property
    def scatter(self) -> float:
        """Standard deviation of one residual of weight 1 about the law; needs a degree of freedom."""
        return float(np.sqrt(self.cost / self.degrees_of_freedom))

    def model(self, theta: Array, x: Array) -> Array:
        """[S, m]: curves of theta [S, P] at x [m] (not scaled), in the space of the residuals."""
        return self.objective.space.forward(self.form.value(theta, x / self.scale))

    def problems(self, count: int) -> "Problem":
        """The minimised problem, `count` times over."""
        return Problem.repeated(
            self.form, self.objective, self.x / self.scale, self.y, self.weights, self.prior_weight, count
        )

    def refit(self, y: Array, weights: Array, centres: Array | None = None, x: Array | None = None) -> Minimum:
        """The same form for replicates y [S, m] with weights [S, m], each started at this fit.

        x: [m], the fitted points' where not given. centres: [S] medians of the prior's log exponent.
        """
        at = (self.x if x is None else x) / self.scale
        start = np.repeat(self.theta[None], len(y), axis=0)
        lower, upper = self.form.bounds(at, y.max(axis=0))
        problem = Problem(self.form, self.objective, at, y, weights, self.prior_weight, centres)
        return minimise(problem.residuals, start, lower, upper)


def fit_points(x: Array, y: Array, form: Form, objective: Objective = Objective(), weights: Array | None = None) -> Fit:
    """The best curve of a form through points that `check_points` has passed. x, y, weights: [n]."""
    weights = np.ones_like(y) if weights is None else weights / weights.mean()
    scale = float(np.exp(np.mean(np.log(x))))
    starts = _starts(form, x / scale, y, objective, weights)
    prior_weight = _prior_weight(x / scale, y, form, objective, weights, starts)
    problem = Problem.repeated(form, objective, x / scale, y, weights, prior_weight, len(starts))
    lower, upper = form.bounds(x / scale, y)
    found = minimise(problem.residuals, starts, lower, upper)
    best = best_start(found, y, objective.space)
    r, jacobian = problem.residuals(best.theta[None], np.array([0]))
    return Fit(
        **vars(best),
        form=form,
        objective=objective,
        x=x,
        weights=weights,
        scale=scale,
        jacobian=jacobian[0, : len(x)],
        cost=float(np.sum(r[0, : len(x)] ** 2)),
        prior_weight=prior_weight,
    )


@dataclass(frozen=True, eq=False)
class Problem:
    """S problems of one form at the same x, as residuals whose squares are summed."""

    form: Form
    objective: Objective
    x: Array
    """[n], scaled."""
    y: Array
    """[S, n]."""
    weights: Array
    """[S, n]."""
    prior_weight: float
    centres: Array | None = None
    """[S]: medians of the prior's log exponent, where they differ from the prior's own."""

    @classmethod
    def repeated(
        cls, form: Form, objective: Objective, x: Array, y: Array, weights: Array, prior_weight: float, count: int
    ) -> "Problem":
        """The same problem for each of `count` starts."""
        return cls(form, objective, x, np.repeat(y[None], count, 0), np.repeat(weights[None], count, 0), prior_weight)

    def residuals(self, theta: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        """Residuals [A, n] (one more with a prior) and Jacobian [A, n, P] of the problems in rows [A]."""
        space, root = self.objective.space, np.sqrt(self.weights[rows])
        value, jac = self.form.value(theta, self.x), self.form.jacobian(theta, self.x)
        jac = jac * space.slope(value)[..., None]
        r = space.forward(value) - space.forward(self.y[rows])
        if self.objective.huber_delta is not None:
            r, slope = huber_root(r, self.objective.huber_delta)
            jac = jac * slope[..., None]
        r, jac = root * r, root[..., None] * jac
        if self.prior_weight == 0.0:
            return r, jac
        return self._with_prior(theta, rows, r, jac)

    def _with_prior(self, theta: Array, rows: NDArray[np.intp], r: Array, jac: Array) -> tuple[Array, Array]:
        exponent, prior = self.form.exponent, self.objective.prior
        assert exponent is not None and prior is not None
        centre = np.log(prior.median) if self.centres is None else self.centres[rows]
        row = np.zeros((len(theta), 1, theta.shape[1]))
        row[:, 0, exponent] = self.prior_weight
        pull = self.prior_weight * (theta[:, exponent] - centre)
        return np.concatenate([r, pull[:, None]], axis=1), np.concatenate([jac, row], axis=1)


def _prior_weight(x: Array, y: Array, form: Form, objective: Objective, weights: Array, starts: Array) -> float:
    """Scatter of the residuals, found without the prior, over the prior's deviation."""
    if objective.prior is None or form.exponent is None:
        return 0.0
    free = Problem.repeated(form, objective, x, y, weights, 0.0, len(starts))
    lower, upper = form.bounds(x, y)
    least = float(minimise(free.residuals, starts, lower, upper).cost.min())
    scatter = np.sqrt(least / max(len(x) - len(form.parameters), 1))
    return float(_SHARED_MISFIT * scatter / np.log(objective.prior.factor))


def _starts(form: Form, x: Array, y: Array, objective: Objective, weights: Array) -> Array:
    """At most STARTS start values [S, P]: the best of the grid, one per neighbourhood."""
    grid = form.candidates(x)
    # To first order a residual in logs or logits is a raw one times the slope there, which keeps the elimination
    # linear.
    root = np.sqrt(weights) * np.abs(objective.space.slope(y))
    coefficients, cost = _non_negative(grid.basis * root[:, None], (y - grid.offset) * root)
    theta = form.with_linear(grid.theta, coefficients)
    shape = grid.theta[:, np.ptp(grid.theta, axis=0) > 0]
    chosen: list[int] = []
    for index in np.argsort(cost, kind="stable"):
        if all(np.abs(shape[index] - shape[other]).max() > 0.7 for other in chosen):
            chosen.append(int(index))
        if len(chosen) == STARTS:
            break
    return theta[chosen]


def _non_negative(basis: Array, target: Array) -> tuple[Array, Array]:
    """Least squares of target [G, n] on basis [G, n, L], L = 0, 1 or 2, coefficients >= 0: ([G, L], cost [G])."""
    count, _, columns = basis.shape
    options = [np.zeros((count, columns))]
    right = np.einsum("gil,gi->gl", basis, target)
    lengths = np.maximum(np.einsum("gil,gil->gl", basis, basis), TINY)
    for column in range(columns):
        alone = np.zeros((count, columns))
        alone[:, column] = np.maximum(right[:, column] / lengths[:, column], 0.0)
        options.append(alone)
    if columns == 2:
        cross = np.einsum("gi,gi->g", basis[..., 0], basis[..., 1])
        determinant = np.maximum(lengths[:, 0] * lengths[:, 1] - cross**2, TINY)
        both = np.column_stack(
            [
                (lengths[:, 1] * right[:, 0] - cross * right[:, 1]) / determinant,
                (lengths[:, 0] * right[:, 1] - cross * right[:, 0]) / determinant,
            ]
        )
        options.append(np.where((both >= 0).all(axis=1, keepdims=True), both, 0.0))
    costs = np.stack([np.sum((np.einsum("gil,gl->gi", basis, o) - target) ** 2, axis=1) for o in options])
    return np.stack(options)[np.argmin(costs, axis=0), np.arange(count)], costs.min(axis=0)
