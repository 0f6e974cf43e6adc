"""Intervals of draws some of which may be infinite."""

import numpy as np

from mammut_clip.fit.forms import Array


def interval(values: Array, level: float) -> tuple[float, float]:
    """Ends of the middle `level` of values [n], -inf and inf among them; NaN, NaN of none.

    Order statistics, taken outwards: between a finite and an infinite value there is nothing to interpolate.
    """
    if not len(values):
        return float("nan"), float("nan")
    ranked = np.sort(values)
    low = int(np.floor((1.0 - level) / 2.0 * (len(ranked) - 1)))
    return float(ranked[low]), float(ranked[len(ranked) - 1 - low])
