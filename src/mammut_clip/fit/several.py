"""Several laws of the same points as one estimate."""

from dataclasses import dataclass

import numpy as np

from mammut_clip.fit.bootstrap import RESIDUALS, Bootstrap, interval_end, law_deviates, noise_deviates
from mammut_clip.fit.estimate import Points
from mammut_clip.fit.forms import Array
from mammut_clip.fit.law import Law
from mammut_clip.fit.quantiles import middle


@dataclass(frozen=True, eq=False)
class SeveralForms:
    """Laws of several forms: one of them, or their weighed mean in the space of the residuals, is the prediction; the
    draws are a mixture of all, so that intervals contain the choice of form.

    Draw i is one of the first law for i below its share of the draws, and so on: two estimates with the same forms are
    paired draw by draw as far as their weights agree.
    """

    laws: tuple[Law, ...]
    weights: tuple[float, ...]
    """Shares of the draws: positive, sum 1."""
    bootstrap: Bootstrap = RESIDUALS
    chosen: int | None = None
    """Which law predicts; their mean by `weights` where it is None."""

    @property
    def x_range(self) -> tuple[float, float]:
        """Least and largest x of the fitted points."""
        return self.laws[0].x_range

    def predict(self, x: Points) -> Array:
        """Error at x, in the shape of x."""
        at = np.asarray(x, dtype=np.float64)
        if self.chosen is not None:
            return self.laws[self.chosen].predict(at)
        space = self.laws[0].fit.objective.space
        mean = sum(w * space.forward(law.predict(at)) for w, law in zip(self.weights, self.laws, strict=True))
        return space.backward(np.asarray(mean))

    def draws(self, x: Points) -> Array:
        """[count, m]: the laws under refits."""
        return self.laws[0].fit.objective.space.backward(self._mixture(_flat(x), noisy=False))

    def law_interval(self, x: Points, level: float = 0.95) -> tuple[Array, Array]:
        """Ends of an interval for the law itself, in the shape of x."""
        return self._ends(x, level, noisy=False)

    def predict_interval(self, x: Points, level: float = 0.95) -> tuple[Array, Array]:
        """Ends of an interval for one new measurement, in the shape of x."""
        return self._ends(x, level, noisy=True)

    def _ends(self, x: Points, level: float, noisy: bool) -> tuple[Array, Array]:
        shape = np.shape(x)
        ends = middle(self._mixture(_flat(x), noisy), level)
        low, high = (interval_end(self.laws[0].fit, end).reshape(shape) for end in ends)
        return low, high

    def _mixture(self, x: Array, noisy: bool) -> Array:
        """[count, m] in the space of the residuals."""
        bounds = np.round(np.cumsum(self.weights) * self.bootstrap.count).astype(int)
        parts, first = [], 0
        for law, last in zip(self.laws, bounds, strict=True):
            part = law_deviates(law.fit, x, self.bootstrap)[first:last]
            parts.append(part + noise_deviates(law.fit, self.bootstrap)[first:last] if noisy else part)
            first = last
        return np.concatenate(parts)


def _flat(x: Points) -> Array:
    return np.atleast_1d(np.asarray(x, dtype=np.float64)).ravel()
