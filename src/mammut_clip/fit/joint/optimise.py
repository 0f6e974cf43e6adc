"""Points -> the best surface of a joint form, with the evidence that it is the best."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammut_clip.fit.joint.forms import JointForm
from mammut_clip.fit.joint.starts import starts
from mammut_clip.fit.least_squares import Minimum, minimise
from mammut_clip.fit.residuals import Array, Space, huber_root
from mammut_clip.fit.search import BestStart, best_start

_ITERATIONS = 1000
"""Under Huber's loss the last steps are slow: residuals cross its threshold one by one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class JointFit(BestStart):
    """One fitted surface in internal parameters, with the points it was fitted to."""

    form: JointForm
    space: Space
    huber_delta: float | None
    size: Array
    """[n]."""
    samples: Array
    """[n]."""
    centre: tuple[float, float]
    """Means of log size and log samples."""

    @property
    def objective(self) -> float:
        """Sum of squared residuals, or of Huber losses (half squares for small residuals)."""
        return self.least if self.huber_delta is None else self.least / 2.0

    def residuals(self) -> Array:
        """[n] in the space of the fit: measured less fitted."""
        u, v = self.centred(self.size, self.samples)
        value, _ = self.form.value_and_jacobian(self.theta[None], u, v)
        return self.space.forward(self.y) - self.space.forward(value[0])

    def jacobian(self) -> Array:
        """[n, P]: derivatives of the surface, in the space of the fit, by the internal parameters."""
        u, v = self.centred(self.size, self.samples)
        value, jacobian = self.form.value_and_jacobian(self.theta[None], u, v)
        return self.space.slope(value[0])[:, None] * jacobian[0]

    def centred(self, size: Array, samples: Array) -> tuple[Array, Array]:
        """log size and log samples less their means over the fitted points."""
        return np.log(size) - self.centre[0], np.log(samples) - self.centre[1]

    def refit(self, weights: Array, shift: Array) -> Minimum:
        """The same points moved by shift [S, n] in the space of the fit, with weights [S, n] of their losses, each fit
        started at this one."""
        start = np.repeat(self.theta[None], len(weights), axis=0)
        u, v = self.centred(self.size, self.samples)
        return _search(self.form, u, v, self.y, weights, shift, self.space, self.huber_delta, start)


def fit_points(
    size: Array, samples: Array, y: Array, form: JointForm, space: Space, huber_delta: float | None
) -> JointFit:
    """The surface of least loss through points [n] that have been checked."""
    centre = float(np.log(size).mean()), float(np.log(samples).mean())
    u, v = np.log(size) - centre[0], np.log(samples) - centre[1]
    begin = starts(form, u, v, y, space)
    alike = len(begin), len(y)
    found = _search(form, u, v, y, np.ones(alike), np.zeros(alike), space, huber_delta, begin)
    return JointFit(
        **vars(best_start(found, y, space)),
        form=form,
        space=space,
        huber_delta=huber_delta,
        size=size,
        samples=samples,
        centre=centre,
    )


def _search(
    form: JointForm,
    u: Array,
    v: Array,
    y: Array,
    weights: Array,
    shift: Array,
    space: Space,
    huber_delta: float | None,
    start: Array,
) -> Minimum:
    """One search per row of start [S, P]; shift [S, n] moves the points, weights [S, n] multiply the losses."""
    target, root = space.forward(y) + shift, np.sqrt(weights)

    def residuals(theta: Array, rows: NDArray[np.int64]) -> tuple[Array, Array]:
        value, jac = form.value_and_jacobian(theta, u, v)
        r, slope = space.forward(value) - target[rows], space.slope(value)
        if huber_delta is not None:
            r, bend = huber_root(r, huber_delta)
            slope = slope * bend
        return root[rows] * r, (root[rows] * slope)[..., None] * jac

    lower, upper = form.bounds(y)
    return minimise(residuals, start, lower, upper, _ITERATIONS)
