"""A joint law: error as a function of model size and samples seen, with its uncertainty and its points.

law = fit_joint(size, samples, error, Surface(form="bounded", error_at_zero=0.999))
law.predict(size, samples), law.predict_interval(size, samples), law.optimum(compute)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_grid import CellBootstrap, Surface
from mammut_clip.fit.grid import Grid, cell_weights
from mammut_clip.fit.joint.checks import check_points
from mammut_clip.fit.joint.forms import ALPHA, BETA, TERM_D, TERM_N, joint_form
from mammut_clip.fit.joint.optimise import JointFit, fit_points
from mammut_clip.fit.joint.scatter import Scatter, scatter_of
from mammut_clip.fit.quantiles import middle
from mammut_clip.fit.residuals import Array, Space

Values: TypeAlias = float | Sequence[float] | Array


@dataclass(frozen=True, eq=False)
class JointLaw:
    """y = f(size, samples); built by `fit_joint`. Methods take size and samples of one shape, or that broadcast."""

    fit: JointFit
    surface: Surface
    params: dict[str, float]
    """Natural parameters: A, alpha, B, beta, E, and p of `interaction`."""
    rmse: float
    """Root mean square of y - f, whatever was minimised."""
    cell: NDArray[np.int64]
    """[n] cells, which the bootstrap redraws."""
    model: NDArray[np.int64]
    """[n] models, each of which the bootstrap moves as a whole."""
    bootstrap: CellBootstrap = field(default_factory=CellBootstrap)
    largest_error: float = np.inf
    """1 where y is an error and no loss: no interval reaches beyond."""

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.fit.y)

    @property
    def at_bound(self) -> tuple[str, ...]:
        """Parameters that ended at a bound: the points do not determine them."""
        return tuple(p for p, held in zip(self.fit.form.parameters, self.fit.held, strict=True) if held)

    @property
    def size_range(self) -> tuple[float, float]:
        """Least and largest size that were fitted."""
        return float(self.fit.size.min()), float(self.fit.size.max())

    @property
    def samples_range(self) -> tuple[float, float]:
        """Least and largest number of samples that were fitted."""
        return float(self.fit.samples.min()), float(self.fit.samples.max())

    def extrapolated(self, size: float, samples: float) -> bool:
        """A run of this size and number of samples lies outside the range of one or the other that was fitted."""
        (n0, n1), (d0, d1) = self.size_range, self.samples_range
        slack = 1 + 1e-9
        return not (n0 <= size * slack and size <= n1 * slack and d0 <= samples * slack and samples <= d1 * slack)

    @cached_property
    def scatter(self) -> Scatter:
        """How single runs and whole models scatter about the law. Raises InputError where no point is left to judge
        it by."""
        if self.fit.degrees_of_freedom < 1:
            raise InputError(
                f"an interval needs more points than parameters: {self.n} points, "
                f"{len(self.fit.form.parameters)} parameters of {self.surface.form}"
            )
        return scatter_of(self.fit, self.model)

    @cached_property
    def thetas(self) -> Array:
        """Internal parameters [count, P] of refits to redrawn cells, each model moved as models scatter. Their
        distances from the fit are widened by sqrt(n / chi2_v) for v degrees of freedom: refits follow their points, and
        v points do not tell the scatter exactly. Raises InputError where no point is left to judge it by."""
        fit, scatter = self.fit, self.scatter
        grid = Grid("", fit.size, fit.samples, fit.size, fit.y, self.cell, ("",) * self.n)
        weights = cell_weights(grid, self.bootstrap, least=len(fit.form.parameters))
        rng = np.random.default_rng([self.bootstrap.seed, 8])
        moved = self._of_models(scatter, rng, int(self.model.max()) + 1)[:, self.model]
        widened = np.sqrt(self.n / self._chi2(rng))
        return np.clip(fit.theta + widened * (fit.refit(weights, moved).theta - fit.theta), *fit.form.bounds(fit.y))

    def predict(self, size: Values, samples: Values) -> Array:
        """Error of a run of this size and number of samples."""
        n, d = np.broadcast_arrays(np.asarray(size, np.float64), np.asarray(samples, np.float64))
        return self._values(self.fit.theta[None], n, d)[0].reshape(n.shape)

    def draws(self, size: Values, samples: Values) -> Array:
        """[count, m]: the law under refits to redrawn cells, at m = the number of points asked for."""
        n, d = np.broadcast_arrays(np.asarray(size, np.float64), np.asarray(samples, np.float64))
        return self._values(self.thetas, n, d)

    def law_interval(self, size: Values, samples: Values, level: float = 0.95) -> tuple[Array, Array]:
        """Ends of an interval for the law itself, without the scatter of single measurements."""
        return self._ends(self.draws(size, samples), size, samples, level)

    def predict_interval(self, size: Values, samples: Values, level: float = 0.95) -> tuple[Array, Array]:
        """Ends of an interval that a new measurement falls into with probability `level`: refits plus the effect of a
        further model and a redrawn residual."""
        rng, residuals = np.random.default_rng([self.bootstrap.seed, 6]), self.fit.residuals()
        scatter, freedom = self.scatter, self.fit.degrees_of_freedom
        shape = (self.bootstrap.count, 1)
        whole = max(float(residuals @ residuals), 1e-300)
        runs = rng.choice(residuals, size=shape) * np.sqrt(scatter.runs * self.n / whole * freedom / self._chi2(rng))
        noise = runs + self._of_models(scatter, rng, 1)
        noisy = self.fit.space.forward(self.draws(size, samples)) + noise
        return self._ends(self.fit.space.backward(noisy), size, samples, level)

    def optimum(self, compute: Values, compute_per_size_sample: float = 1.0) -> tuple[Array, Array]:
        """Size and samples of least error at given compute = compute_per_size_sample x size x samples, in the shape
        of compute."""
        slope, level = (values[0] for values in optimal_size(self.fit, self.fit.theta[None]))
        log_product = np.log(np.asarray(compute, np.float64) / compute_per_size_sample)
        size = np.exp(level + slope * (log_product - sum(self.fit.centre)))
        return size, np.exp(log_product) / size

    def interval(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Interval of each natural parameter and of the exponents of compute-optimal size and samples."""
        values = self.fit.form.natural(self.thetas, self.fit.centre)
        slope, _ = optimal_size(self.fit, self.thetas)
        ends = middle(np.column_stack([values, slope, 1.0 - slope]), level)
        names = (*self.fit.form.parameters, "size_exponent", "samples_exponent")
        return dict(zip(names, zip(*(end.tolist() for end in ends), strict=True), strict=True))

    @property
    def size_exponent(self) -> float:
        """Of compute, in the size of least error: beta / (alpha + beta). That of samples is 1 less this."""
        return float(optimal_size(self.fit, self.fit.theta[None])[0][0])

    def to_json_dict(self, level: float = 0.95) -> dict[str, Any]:
        """The law as plain JSON values."""
        return {
            "form": self.surface.form,
            "surface": self.surface.model_dump(mode="json"),
            "params": self.params,
            "size_exponent": self.size_exponent,
            "samples_exponent": 1.0 - self.size_exponent,
            "intervals": {name: list(ends) for name, ends in self.interval(level).items()},
            "n": self.n,
            "rmse": self.rmse,
            "objective": self.fit.objective,
            "scatter": {"runs": self.scatter.runs**0.5, "models": self.scatter.models**0.5},
            "size_range": list(self.size_range),
            "samples_range": list(self.samples_range),
            "converged": self.fit.converged,
            "gradient": self.fit.gradient,
            "starts": self.fit.starts,
            "starts_agreeing": self.fit.starts_agreeing,
            "at_bound": list(self.at_bound),
        }

    def _chi2(self, rng: np.random.Generator) -> Array:
        """[count, 1] draws of chi2 with the fit's degrees of freedom."""
        return rng.chisquare(self.fit.degrees_of_freedom, size=(self.bootstrap.count, 1))

    def _of_models(self, scatter: Scatter, rng: np.random.Generator, models: int) -> Array:
        """[count, models] effects of models, widened by the ignorance of how far models scatter."""
        chi2 = rng.chisquare(scatter.models_freedom, size=(self.bootstrap.count, 1))
        wide = np.sqrt(scatter.models * scatter.models_freedom / chi2)
        return wide * rng.standard_normal((self.bootstrap.count, models))

    def _values(self, theta: Array, size: Array, samples: Array) -> Array:
        u, v = self.fit.centred(size.ravel(), samples.ravel())
        return self.fit.form.value_and_jacobian(theta, u, v)[0]

    def _ends(self, draws: Array, size: Values, samples: Values, level: float) -> tuple[Array, Array]:
        shape = np.broadcast_shapes(np.shape(size), np.shape(samples))
        low, high = (np.minimum(end, self.largest_error) for end in middle(draws, level))
        return low.reshape(shape), high.reshape(shape)


def fit_joint(
    size: Sequence[float] | Array,
    samples: Sequence[float] | Array,
    y: Sequence[float] | Array,
    surface: Surface | None = None,
    *,
    cell: NDArray[np.int64] | None = None,
    models: Sequence[str] | None = None,
    bootstrap: CellBootstrap | None = None,
    largest_error: float = np.inf,
    rows: Sequence[str] | None = None,
) -> JointLaw:
    """Fit a joint law to points.

    size, samples: [n] positive, in any unit; y: [n]. cell [n]: points that the bootstrap draws together; each its own
    where it is not given. models [n]: names of the models, whose points scatter together; each point of its own where
    they are not given. `largest_error` is what no interval reaches beyond: 1 for errors, as for a bounded surface with
    such an error_at_zero in any case. `rows` names the points in error messages. Raises InputError for points that
    cannot be fitted.
    """
    surface = surface or Surface()
    form, space = joint_form(surface), Space(surface.residuals)
    points = check_points(size, samples, y, form, space, rows)
    fit = fit_points(*points, form, space, surface.huber_delta)
    natural = form.natural(fit.theta[None], fit.centre)[0]
    params = dict(zip(form.parameters, (float(value) for value in natural), strict=True))
    value, _ = form.value_and_jacobian(fit.theta[None], *fit.centred(fit.size, fit.samples))
    rmse = float(np.sqrt(np.mean((value[0] - fit.y) ** 2)))
    alone = np.arange(len(fit.y))
    cells = alone if cell is None else cell
    model = alone if models is None else np.unique(list(models), return_inverse=True)[1]
    if surface.form == "bounded" and surface.error_at_zero <= 1.0:
        largest_error = 1.0
    return JointLaw(fit, surface, params, rmse, cells, model, bootstrap or CellBootstrap(), largest_error)


def optimal_size(fit: JointFit, theta: Array) -> tuple[Array, Array]:
    """Exponent of compute [S] in the size of least error and, for theta [S, P], log of that size [S] where
    size x samples is at the mean of the fitted points.

    Along size x samples = constant the sum (A N^-alpha)^p + (B D^-beta)^p is least where the derivatives of its terms
    by log N cancel: alpha (A N^-alpha)^p = beta (B D^-beta)^p, which is a power law (Hoffmann et al. 2022, equation 4).
    """
    alpha, beta = np.exp(theta[:, ALPHA]), np.exp(theta[:, BETA])
    gap = (theta[:, ALPHA] - theta[:, BETA]) / fit.form.sharpness(theta) + theta[:, TERM_N] - theta[:, TERM_D]
    return beta / (alpha + beta), fit.centre[0] + gap / (alpha + beta)
