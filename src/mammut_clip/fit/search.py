"""What the best of several starts found, with the evidence that it is an optimum: for curves and for surfaces."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammut_clip.fit.least_squares import Minimum
from mammut_clip.fit.residuals import Array, Space

_GRADIENT_TOLERANCE = 1e-5
_ROUNDING = 1e-24


@dataclass(frozen=True, eq=False, kw_only=True)
class BestStart:
    """Where the best start of a search ended; a fit adds its form and its points."""

    y: Array
    """[n] measurements."""
    theta: Array
    """[P] internal parameters."""
    least: float
    """Sum of squares that was minimised."""
    exact: bool
    """The law passes through every point to rounding: the direction of such residuals says nothing."""
    gradient: float
    """Largest cosine between the residuals and a column of their Jacobian; 0 at an optimum."""
    starts: int
    starts_agreeing: int
    """Starts that ended within 1e-6 (relative) of the least sum of squares."""
    held: NDArray[np.bool_]
    """[P]: parameters that ended at a bound."""

    @property
    def converged(self) -> bool:
        """The gradient vanishes, or there is nothing left to improve."""
        return self.exact or self.gradient < _GRADIENT_TOLERANCE

    @property
    def degrees_of_freedom(self) -> int:
        """Points less parameters that the data determine."""
        return len(self.y) - int((~self.held).sum())


def best_start(found: Minimum, y: Array, space: Space) -> BestStart:
    """The least of several minima of one problem with measurements y [n]."""
    best = int(np.argmin(found.cost))
    least = float(found.cost[best])
    # Logs and logits are rounded by what a value of order one is, whatever the value.
    zero = _ROUNDING * float(np.sum(space.forward(y) ** 2) + (0.0 if space.name == "raw" else len(y)))
    return BestStart(
        y=y,
        theta=found.theta[best],
        least=least,
        exact=least <= zero,
        gradient=float(found.gradient[best]),
        starts=len(found.cost),
        starts_agreeing=int((found.cost <= least * (1 + 1e-6) + zero).sum()),
        held=found.held[best],
    )
