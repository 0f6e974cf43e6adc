"""A law: a fitted function from compute (or samples seen) to error, with its uncertainty and its points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mammut_clip.config.fit import ResidualName
from mammut_clip.fit.bootstrap import Bootstrap, law_interval, predict_interval
from mammut_clip.fit.checks import check_points
from mammut_clip.fit.estimate import Points
from mammut_clip.fit.forms import Array, Form, get_form
from mammut_clip.fit.optimise import Fit, Objective, fit_points


@dataclass(frozen=True, eq=False)
class Law:
    """y = f(x) with natural parameters; built by `fit_law`."""

    fit: Fit
    params: dict[str, float]
    """Natural parameters, such as a, b, c, d of y = a (x + b)^c + d."""
    se: dict[str, float | None]
    """Standard errors to first order, from the points alone (a prior does not narrow them); None at a bound or where
    the points do not determine them."""
    rmse: float
    """Root mean square of y - f(x), whatever the residuals that were minimised."""

    @property
    def form(self) -> str:
        """Name of the form."""
        return self.fit.form.name

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.fit.x)

    @property
    def sse(self) -> float:
        """Sum of squares of y - f(x)."""
        return self.n * self.rmse**2

    @property
    def aicc(self) -> float | None:
        """Akaike's criterion for small samples, in the space of the residuals: lower is better, comparable only between
        laws of the same points and residuals. None where the points are too few for it."""
        k = len(self.fit.theta) + 1  # and the scatter
        if self.n - k - 1 <= 0 or self.fit.cost <= 0:
            return None
        return float(self.n * np.log(self.fit.cost / self.n) + 2 * k + 2 * k * (k + 1) / (self.n - k - 1))

    @property
    def x_range(self) -> tuple[float, float]:
        """Least and largest x of the fitted points."""
        return float(self.fit.x.min()), float(self.fit.x.max())

    @property
    def converged(self) -> bool:
        """The search ended at an optimum."""
        return self.fit.converged

    @property
    def at_bound(self) -> tuple[str, ...]:
        """Parameters that ended at a bound: the points do not determine them."""
        return tuple(name for name, held in zip(self.fit.form.parameters, self.fit.held, strict=True) if held)

    def predict(self, x: Points) -> Array:
        """f(x), in the shape of x."""
        return self.fit.form.evaluate(self.params, np.asarray(x, dtype=np.float64))

    def predict_interval(
        self, x: Points, level: float = 0.95, bootstrap: Bootstrap | None = None
    ) -> tuple[Array, Array]:
        """Ends of an interval that a new measurement at x falls into with probability `level`, in the shape
        of x."""
        return self._interval(predict_interval, x, level, bootstrap)

    def law_interval(self, x: Points, level: float = 0.95, bootstrap: Bootstrap | None = None) -> tuple[Array, Array]:
        """Ends of an interval for f(x) itself, without the scatter of single measurements, in the shape of
        x."""
        return self._interval(law_interval, x, level, bootstrap)

    def _interval(self, kind: Any, x: Any, level: float, bootstrap: Bootstrap | None) -> tuple[Array, Array]:
        at = np.asarray(x, dtype=np.float64)
        low, high = kind(self.fit, at.ravel(), level, bootstrap or Bootstrap())
        return low.reshape(at.shape), high.reshape(at.shape)

    def to_json_dict(self) -> dict[str, Any]:
        """The law as plain JSON values; error_at_zero is e0 of the formula, null for forms without."""
        return {
            "form": self.form,
            "formula": self.fit.form.formula,
            "error_at_zero": self.fit.form.ceiling,
            "params": self.params,
            "se": self.se,
            "n": self.n,
            "rmse": self.rmse,
            "sse": self.sse,
            "residuals": self.fit.residuals,
            "aicc": self.aicc,
            "x_min": float(self.fit.x.min()),
            "x_max": float(self.fit.x.max()),
            "converged": self.converged,
            "gradient": self.fit.gradient,
            "starts": self.fit.starts,
            "starts_agreeing": self.fit.starts_agreeing,
            "at_bound": list(self.at_bound),
        }


def fit_law(
    x: Sequence[float] | Array,
    y: Sequence[float] | Array,
    form: str | Form = "saturation",
    *,
    residuals: ResidualName = "raw",
    objective: Objective | None = None,
    weights: Array | None = None,
    rows: Sequence[str] | None = None,
) -> Law:
    """Fit a form to points.

    x: [n] positive, in any unit; y: [n]; weights: [n] positive factors of the squared residuals. `objective` says in
    full what `residuals` says in short. `rows` names the points in error messages. Raises InputError for points that
    cannot be fitted (see `check_points`).
    """
    chosen = get_form(form) if isinstance(form, str) else form
    wanted = objective or Objective(residuals)
    xs, ys = check_points(x, y, chosen, wanted.residuals, rows)
    fit = fit_points(xs, ys, chosen, wanted, weights)
    params = dict(zip(chosen.parameters, (float(v) for v in chosen.natural(fit.theta, fit.scale)), strict=True))
    error = chosen.evaluate(params, xs) - ys
    return Law(fit, params, _standard_errors(fit), float(np.sqrt(np.mean(error**2))))


def _standard_errors(fit: Fit) -> dict[str, float | None]:
    """Square roots of the diagonal of s^2 (J'J)^-1, carried to the natural parameters."""
    names, free = fit.form.parameters, ~fit.held
    freedom = fit.degrees_of_freedom
    unknown: dict[str, float | None] = dict.fromkeys(names)
    # Where the amplitude is nothing, shift and exponent move nothing either.
    free = free & (np.linalg.norm(fit.jacobian, axis=0) > 1e-12 * np.linalg.norm(fit.objective.space.forward(fit.y)))
    jac = fit.jacobian[:, free]
    if freedom < 1 or np.linalg.matrix_rank(jac) < jac.shape[1]:
        return unknown
    root = np.linalg.inv(np.linalg.qr(jac, mode="r"))
    covariance = fit.cost / freedom * (root @ root.T)
    carry = fit.form.natural_jacobian(fit.theta, fit.scale)[:, free]
    variance = np.einsum("ij,jk,ik->i", carry, covariance, carry)
    return {n: (float(np.sqrt(v)) if f else None) for n, v, f in zip(names, variance, free, strict=True)}
