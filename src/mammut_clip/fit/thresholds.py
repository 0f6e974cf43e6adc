"""The record of a whole procedure: what it would have said with less compute, beside what was measured."""

from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from mammut_clip.fit.heldout import HeldOutRecord
from mammut_clip.fit.json_values import finite


@dataclass(frozen=True)
class ThresholdScore:
    """One group's law without the points beyond a threshold, scored on those."""

    group: str
    threshold: float
    """Largest x that the fit could see."""
    fitted: int
    """Points of the law."""
    scored: int
    """Held-out points on the frontier, of which a law of the frontier speaks."""
    rmse: float
    """Of prediction less measurement on those."""
    bias: float
    """Mean of prediction less measurement on those."""
    covered: int
    """Measurements inside the prediction interval, of those."""
    rmse_of_cells: float
    """The same error over the best run of every held-out cell, on the frontier or not."""

    def to_json_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN, where nothing was scored, becomes null."""
        return cast(dict[str, Any], finite(asdict(self)))


def threshold_score(group: str, threshold: float, fitted: int, records: tuple[HeldOutRecord, ...]) -> ThresholdScore:
    """The score of held-out records."""
    on = [r for r in records if r.on_frontier]
    misses = np.array([r.predicted - r.measured for r in on])
    every = np.array([r.predicted - r.measured for r in records])
    return ThresholdScore(
        group=group,
        threshold=threshold,
        fitted=fitted,
        scored=len(on),
        rmse=_rms(misses),
        bias=float(misses.mean()) if len(on) else float("nan"),
        covered=sum(r.covered for r in on),
        rmse_of_cells=_rms(every),
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else float("nan")
