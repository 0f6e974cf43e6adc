"""The middle of draws, as the ends of an interval."""

import numpy as np

from mammut_clip.fit.forms import Array


def middle(draws: Array, level: float) -> tuple[Array, Array]:
    """Ends of the middle `level` of draws [count, ...], along their first axis; `compare.quantiles` has it for infinite
    ones."""
    low, high = np.quantile(draws, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return low, high
