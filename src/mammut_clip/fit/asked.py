"""Errors at values of x that somebody asks for."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mammut_clip.config.errors import InputError
from mammut_clip.fit.estimate import Estimate


@dataclass(frozen=True)
class Answer:
    """What an estimate says at one x."""

    x: float
    predicted: float
    lower: float
    upper: float
    """Ends of the interval for one new measurement."""
    law_lower: float
    law_upper: float
    """Ends of the interval for the law itself."""
    level: float
    extrapolated: bool
    """x lies outside the fitted points."""

    def to_json_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def answers(estimate: Estimate, at: Sequence[float], level: float = 0.95) -> tuple[Answer, ...]:
    """One answer for each x. Raises InputError for an x that is not positive, and where too few points are left for an
    interval."""
    x = np.asarray(at, dtype=np.float64)
    if not x.size:
        return ()
    if (bad := x[~(np.isfinite(x) & (x > 0))]).size:
        raise InputError(f"a law is predicted at positive x, not at {bad[0]:g}")
    predicted = estimate.predict(x)
    lower, upper = estimate.predict_interval(x, level)
    law_lower, law_upper = estimate.law_interval(x, level)
    first, last = estimate.x_range
    return tuple(
        Answer(
            x=float(x[i]),
            predicted=float(predicted[i]),
            lower=float(lower[i]),
            upper=float(upper[i]),
            law_lower=float(law_lower[i]),
            law_upper=float(law_upper[i]),
            level=level,
            extrapolated=not first <= x[i] <= last,
        )
        for i in range(len(x))
    )
