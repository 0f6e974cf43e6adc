"""The record of a form inside the fitted points: fitted to those of little compute, scored on those of more.

Time-series forecasting calls this evaluation on a rolling origin; no point that is held out from the law is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mammut_clip.fit.forms import Array, Form
from mammut_clip.fit.optimise import Fit, Objective, fit_points


@dataclass(frozen=True, eq=False)
class RollingScore:
    """One form at one cut."""

    form: str
    cut: float
    """Largest x that the fit saw."""
    fitted: int
    """Points up to the cut."""
    predicted: int
    """Points beyond it."""
    rmse: float
    """Root mean square of prediction less measurement, as errors."""
    misses: Array
    """[predicted]: law less measurement in the space of the residuals."""
    fit: Fit
    beyond: Array
    """[predicted]: x of the points that were predicted."""

    @property
    def rms_miss(self) -> float:
        """Root mean square of `misses`."""
        return float(np.sqrt(np.mean(self.misses**2)))


def rolling_scores(
    x: Array, y: Array, forms: Sequence[Form], objective: Objective, cuts: Sequence[float], weights: Array | None = None
) -> tuple[RollingScore, ...]:
    """Scores of every form at every cut at which all of them can be fitted with a point to spare.

    x, y, weights: [n]; cuts: shares of the largest x. By form, then by falling cut; of cuts with no point between them,
    which ask the same twice, the largest.
    """
    needed = max(len(form.parameters) for form in forms) + 1
    limits = [cut * float(x.max()) for cut in sorted(cuts, reverse=True)]
    splits = {int((x <= limit).sum()): limit for limit in reversed(limits)}
    usable = [limit for limit in reversed(splits.values()) if len(np.unique(x[x <= limit])) >= needed]
    return tuple(_score(x, y, form, objective, limit, weights) for form in forms for limit in usable)


def _score(x: Array, y: Array, form: Form, objective: Objective, limit: float, weights: Array | None) -> RollingScore:
    seen = x <= limit
    fit = fit_points(x[seen], y[seen], form, objective, None if weights is None else weights[seen])
    predicted = form.value(fit.theta[None], x[~seen] / fit.scale)[0]
    space = objective.space
    return RollingScore(
        form=form.name,
        cut=limit,
        fitted=int(seen.sum()),
        predicted=int((~seen).sum()),
        rmse=float(np.sqrt(np.mean((predicted - y[~seen]) ** 2))),
        misses=space.forward(predicted) - space.forward(y[~seen]),
        fit=fit,
        beyond=x[~seen],
    )
