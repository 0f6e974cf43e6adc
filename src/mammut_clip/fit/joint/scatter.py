"""What scatters about a joint law: single runs, and whole models.

Models of one size differ (in patch size, depth, width), and all runs of a model share that: their residuals are not
independent. A residual is taken as the sum of an effect of its model and one of its run.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammut_clip.fit.joint.optimise import JointFit

_APART = 1e-6
"""Share of the equations' determinant below which models and runs are not told apart."""


@dataclass(frozen=True)
class Scatter:
    """Variances in the space of the residuals."""

    runs: float
    """Of one run about its model."""
    models: float
    """Of one model about the law; 0 where the points show none."""
    models_freedom: float
    """Degrees of freedom of `models`; fewer than there are models."""


def scatter_of(fit: JointFit, model: NDArray[np.int64]) -> Scatter:
    """The variances that give the residuals' sum of squares, and that of their sums over each model [n], the values
    they have (Henderson 1953, method 3, linearised at the fit). Needs a degree of freedom.

    With P the projection onto what the fit leaves over, Z [n, m] the points' models and G = Z' P Z, the expected
    values are runs tr P + models tr G and runs tr G + models tr G^2.
    """
    z = (model[:, None] == np.unique(model)).astype(np.float64)
    q, _ = np.linalg.qr(fit.jacobian()[:, ~fit.held])
    g = z.T @ z - (z.T @ q) @ (q.T @ z)
    residuals = fit.residuals()
    whole, of_models = float(residuals @ residuals), float(np.sum((z.T @ residuals) ** 2))
    freedom, trace, square = fit.degrees_of_freedom, float(np.trace(g)), float(np.sum(g * g))
    determinant = freedom * square - trace**2
    models = 0.0
    if determinant > _APART * freedom * square:
        models = max((freedom * of_models - trace * whole) / determinant, 0.0)
    runs = max((whole - models * trace) / freedom, 0.0)
    expected = runs * g + models * (g @ g)  # of the sums over models
    spread = float(np.sum(expected * expected))
    return Scatter(runs, models, float(np.trace(expected)) ** 2 / spread if spread > 0 else float(freedom))
