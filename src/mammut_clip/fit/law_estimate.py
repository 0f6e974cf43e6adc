"""One law and one way to redraw its data, as an `Estimate`."""

from dataclasses import dataclass

import numpy as np

from mammut_clip.fit.bootstrap import Bootstrap, curves
from mammut_clip.fit.estimate import Points
from mammut_clip.fit.forms import Array
from mammut_clip.fit.law import Law


@dataclass(frozen=True, eq=False)
class LawEstimate:
    """A law with its refits. Laws of different data need seeds of their own, or the same cells, to be compared."""

    law: Law
    bootstrap: Bootstrap

    @property
    def x_range(self) -> tuple[float, float]:
        """Least and largest x of the fitted points."""
        return self.law.x_range

    def predict(self, x: Points) -> Array:
        """Error at x, in the shape of x."""
        return self.law.predict(x)

    def draws(self, x: Points) -> Array:
        """[count, m]: the law under refits. Raises InputError where no point is left to judge the scatter by."""
        return curves(self.law.fit, np.atleast_1d(np.asarray(x, dtype=np.float64)), self.bootstrap)

    def law_interval(self, x: Points, level: float = 0.95) -> tuple[Array, Array]:
        """Ends of an interval for the law itself, in the shape of x."""
        return self.law.law_interval(x, level, self.bootstrap)

    def predict_interval(self, x: Points, level: float = 0.95) -> tuple[Array, Array]:
        """Ends of an interval for one new measurement, in the shape of x."""
        return self.law.predict_interval(x, level, self.bootstrap)
