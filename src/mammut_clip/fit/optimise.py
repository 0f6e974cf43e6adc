"""Points -> the best curve of a form, with the evidence that it is the best.

A grid over shift and exponent is scored with the linear parameters (amplitude, floor) eliminated in closed
form under non-negativity; its local minima start at most eight Levenberg-Marquardt searches with the analytic
Jacobian.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import ResidualName
from mammut_clip.fit.forms import Array, Form
from mammut_clip.fit.least_squares import Minimum, minimise

STARTS = 8
_GRADIENT_TOLERANCE = 1e-5
_EXACT = 1e-24
"""Sums of squares below this share of the data's own are zero to rounding: the direction of such residuals
says nothing."""


@dataclass(frozen=True, eq=False)
class Fit:
    """One fitted curve in internal parameters, with the points it was fitted to."""

    form: Form
    residuals: ResidualName
    x: Array
    """[n], as given."""
    y: Array
    """[n]."""
    scale: float
    """Geometric mean of x."""
    theta: Array
    """[P] internal parameters."""
    jacobian: Array
    """[n, P] of the residuals' model (log y for log residuals) at theta."""
    cost: float
    """Sum of squared residuals, raw or log as fitted."""
    gradient: float
    """Largest cosine between the residuals and a column of the Jacobian; 0 at an optimum."""
    starts: int
    starts_agreeing: int
    """Starts that ended within 1e-6 (relative) of the least sum of squares."""
    held: np.ndarray
    """[P] bool: parameters that ended at a bound."""

    @property
    def converged(self) -> bool:
        """The gradient vanishes, or the curve passes through every point to rounding."""
        spread = float(np.sum(_target(self.y, self.residuals) ** 2))
        return self.gradient < _GRADIENT_TOLERANCE or self.cost <= _EXACT * max(spread, 1.0)

    @property
    def degrees_of_freedom(self) -> int:
        """Points less parameters that the data determine."""
        return len(self.x) - int((~self.held).sum())

    def refit(self, y: Array, weights: Array) -> Minimum:
        """The same form for replicates y [S, n] with weights [S, n], each started at this fit."""
        start = np.repeat(self.theta[None], len(y), axis=0)
        lower, upper = self.form.bounds(self.x / self.scale, np.maximum(self.y, y.max(axis=0)))
        return _search(self.form, self.x / self.scale, y, weights, self.residuals, start, lower, upper)


def fit_points(x: Array, y: Array, form: Form, residuals: ResidualName = "raw") -> Fit:
    """Least squares of a form to points that `check_points` has passed. x, y: [n]."""
    scale = float(np.exp(np.mean(np.log(x))))
    scaled = x / scale
    starts = _starts(form, scaled, y, residuals)
    lower, upper = form.bounds(scaled, y)
    repeated = np.repeat(y[None], len(starts), axis=0)
    found = _search(form, scaled, repeated, np.ones_like(repeated), residuals, starts, lower, upper)
    best = int(np.argmin(found.cost))
    cost = float(found.cost[best])
    tolerance = 1e-6 * cost + _EXACT * max(float(np.sum(_target(y, residuals) ** 2)), 1e-300)
    theta = found.theta[best]
    jacobian = form.jacobian(theta[None], scaled)[0]
    if residuals == "log":
        jacobian = jacobian / form.value(theta[None], scaled)[0][:, None]
    return Fit(
        form=form,
        residuals=residuals,
        x=x,
        y=y,
        scale=scale,
        theta=theta,
        jacobian=jacobian,
        cost=cost,
        gradient=float(found.gradient[best]),
        starts=len(starts),
        starts_agreeing=int((found.cost <= cost + tolerance).sum()),
        held=found.held[best],
    )


def check_points(
    x: Sequence[float] | Array,
    y: Sequence[float] | Array,
    form: Form,
    residuals: ResidualName = "raw",
    rows: Sequence[str] | None = None,
) -> tuple[Array, Array]:
    """x and y as float arrays [n] fit for a fit. Raises InputError that names the rows which are not.

    Two rows with the same x and y are one row counted twice and refused, unless `rows` names them
    differently: runs that are known to be two may well agree.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.ndim != 1 or xs.shape != ys.shape:
        raise InputError(f"x and y must be two lists of one length, got shapes {xs.shape} and {ys.shape}")
    names = [f"row {i}" for i in range(len(xs))] if rows is None else list(rows)
    _refuse(~np.isfinite(xs), names, xs, "x is not a finite number")
    _refuse(~np.isfinite(ys), names, ys, "y is not a finite number")
    _refuse(xs <= 0, names, xs, "x must be positive")
    _refuse(ys < 0, names, ys, "y must not be negative")
    if residuals == "log":
        _refuse(ys <= 0, names, ys, "y must be positive for log residuals")
    if rows is None or len(set(names)) < len(names):
        seen: dict[tuple[float, float], str] = {}
        for name, pair in zip(names, zip(xs.tolist(), ys.tolist(), strict=True), strict=True):
            if pair in seen:
                raise InputError(f"{name} repeats {seen[pair]}: the same x ({pair[0]:g}) and y ({pair[1]:g})")
            seen[pair] = name
    distinct, needed = len(np.unique(xs)), len(form.parameters)
    if distinct < needed:
        raise InputError(
            f"{form.name} has {needed} parameters ({', '.join(form.parameters)}) and needs at least {needed} "
            f"points at different x, got {len(xs)} points at {distinct}"
        )
    return xs, ys


def _refuse(bad: np.ndarray, names: list[str], values: Array, reason: str) -> None:
    where = np.flatnonzero(bad)
    if not where.size:
        return
    shown = ", ".join(f"{names[i]} ({values[i]:g})" for i in where[:8])
    more = f" and {where.size - 8} more" if where.size > 8 else ""
    raise InputError(f"{reason}: {shown}{more}")


def _target(y: Array, residuals: ResidualName) -> Array:
    return np.log(y) if residuals == "log" else y


def _search(
    form: Form,
    x: Array,
    y: Array,
    weights: Array,
    kind: ResidualName,
    start: Array,
    lower: Array,
    upper: Array,
) -> Minimum:
    """One search per row of y [S, n]; x [n] is scaled, weights [S, n] multiply squared residuals."""
    target, root = _target(y, kind), np.sqrt(weights)

    def residuals(theta: Array, rows: np.ndarray) -> tuple[Array, Array]:
        value, jac = form.value(theta, x), form.jacobian(theta, x)
        if kind == "log":
            value = np.maximum(value, 1e-300)
            value, jac = np.log(value), jac / value[..., None]
        return root[rows] * (value - target[rows]), root[rows][..., None] * jac

    return minimise(residuals, start, lower, upper)


def _starts(form: Form, x: Array, y: Array, residuals: ResidualName) -> Array:
    """At most STARTS start values [S, P]: the best of the grid, one per neighbourhood."""
    theta, basis = form.candidates(x)
    # To first order a log residual is a raw one divided by y, which keeps the elimination linear.
    weight = 1.0 / y if residuals == "log" else np.ones_like(y)
    coefficients, cost = _non_negative(basis * weight[:, None], y * weight)
    theta = form.with_linear(theta, coefficients)
    chosen: list[int] = []
    for index in np.argsort(cost, kind="stable"):
        shape = theta[index, 1 : 1 + 2]
        if all(np.abs(shape - theta[other, 1:3]).max() > 0.7 for other in chosen):
            chosen.append(int(index))
        if len(chosen) == STARTS:
            break
    return theta[chosen]


def _non_negative(basis: Array, target: Array) -> tuple[Array, Array]:
    """Least squares of target [n] on basis [G, n, L], L = 1 or 2, coefficients >= 0: ([G, L], cost [G])."""
    first = basis[..., 0]
    alone = np.maximum(first @ target, 0.0) / np.maximum(np.einsum("gi,gi->g", first, first), 1e-300)
    options = [np.zeros((len(basis), basis.shape[-1]))]
    options[0][:, 0] = alone
    if basis.shape[-1] == 2:
        second = basis[..., 1]
        only_second = np.zeros_like(options[0])
        only_second[:, 1] = np.maximum(second @ target, 0.0) / np.einsum("gi,gi->g", second, second)
        normal = np.swapaxes(basis, 1, 2) @ basis
        determinant = normal[:, 0, 0] * normal[:, 1, 1] - normal[:, 0, 1] ** 2
        right = np.swapaxes(basis, 1, 2) @ target
        both = (
            np.column_stack(
                [
                    normal[:, 1, 1] * right[:, 0] - normal[:, 0, 1] * right[:, 1],
                    normal[:, 0, 0] * right[:, 1] - normal[:, 0, 1] * right[:, 0],
                ]
            )
            / np.maximum(determinant, 1e-300)[:, None]
        )
        options += [only_second, np.where((both >= 0).all(axis=1, keepdims=True), both, options[0])]
    costs = np.stack([np.sum((np.einsum("gil,gl->gi", basis, o) - target) ** 2, axis=1) for o in options])
    best = np.argmin(costs, axis=0)
    return np.stack(options)[best, np.arange(len(basis))], costs.min(axis=0)
