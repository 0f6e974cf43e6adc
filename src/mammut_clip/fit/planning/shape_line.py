"""Whether a run of given model and samples would be on the frontier: a law of the frontier speaks of such runs only.

The samples seen of non-dominated runs grow with compute along a line in log-log (figure 6 of arXiv:2506.04598); a run
far from that line has too large a model for its samples or too small a one, and will be worse than the law says.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammut_clip.fit.forms import Array
from mammut_clip.fit.frontier import non_dominated
from mammut_clip.fit.planning.places import samples_of

_LEAST = 5
"""Non-dominated runs that a line and its scatter take."""


@dataclass(frozen=True)
class FrontierShape:
    """A planned run beside the shapes that the frontier is made of."""

    factor: float
    """Its samples over those of the frontier's line at its compute: above 1 the model is small for them."""
    least: float
    most: float
    """Ends of the interval, as samples seen, that a run of the frontier falls into at its compute."""
    on_frontier: bool
    """Its samples lie between them."""


@dataclass(frozen=True, eq=False)
class ShapeLine:
    """log10 of samples seen against log10 of compute over the non-dominated runs of one group."""

    slope: float
    intercept: float
    scatter: float
    """Standard deviation about the line, in decades."""
    log_x: Array
    """[n] of the runs it was fitted to."""

    def judge(self, x: float, samples: float, level: float) -> FrontierShape:
        """A run at compute x that sees so many samples; the interval is Student's for one more run."""
        from scipy.special import stdtrit  # scipy.stats takes half a second to load

        count, at = len(self.log_x), np.log10(x)
        centre = self.intercept + self.slope * at
        spread = np.sum((self.log_x - self.log_x.mean()) ** 2)
        width = self.scatter * np.sqrt(1 + 1 / count + (at - self.log_x.mean()) ** 2 / spread)
        half = float(stdtrit(count - 2, 0.5 + level / 2)) * width
        offset = np.log10(samples) - centre
        return FrontierShape(
            factor=float(10**offset),
            least=float(10 ** (centre - half)),
            most=float(10 ** (centre + half)),
            on_frontier=bool(abs(offset) <= half),
        )


def shape_line(points: pd.DataFrame) -> ShapeLine | None:
    """The line of one group's points; None where they do not tell samples, or too few of them are non-dominated."""
    samples = samples_of(points)
    if samples is None:
        return None
    x, error = points["x"].to_numpy(dtype=np.float64), points["error"].to_numpy(dtype=np.float64)
    frontier = non_dominated(x, error)
    log_x, log_samples = np.log10(x[frontier]), np.log10(samples[frontier])
    if len(log_x) < _LEAST or np.ptp(log_x) == 0:
        return None
    slope, intercept = np.polyfit(log_x, log_samples, 1)
    offsets = log_samples - (intercept + slope * log_x)
    scatter = float(np.sqrt(np.sum(offsets**2) / (len(log_x) - 2)))
    return ShapeLine(float(slope), float(intercept), scatter, log_x)
