"""The score of a law: what it predicts for runs it did not see, beside what they measured."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import HeldOut
from mammut_clip.fit.estimate import Estimate
from mammut_clip.fit.frontier import CELL, best_per_cell, non_dominated


@dataclass(frozen=True)
class HeldOutRecord:
    """One held-out point."""

    group: str
    model: str
    """Empty where the table has no model column."""
    samples_seen: int | None
    x: float
    predicted: float
    lower: float
    upper: float
    measured: float
    covered: bool
    """The measurement lies within the interval."""
    relative_error: float
    """(predicted - measured) / measured."""
    on_frontier: bool
    """No run of the group with less compute was better. A law of the frontier speaks of such runs only."""


def held_out_mask(points: pd.DataFrame, held_out: HeldOut | None, group: str) -> np.ndarray:
    """Mask [rows] of one group's points that the fit must not see; the column `x` decides.

    Raises InputError where nothing would be held out, or nothing left.
    """
    x = points["x"].to_numpy(dtype=np.float64)
    if held_out is None:
        return np.zeros(len(x), dtype=bool)
    if held_out.above is not None:
        mask, said = x > held_out.above, f"above: {held_out.above:g}"
    else:
        # A cell's compute is one number for all its runs; where there are no cells every row is its own.
        cells = np.sort(points.groupby(list(CELL))["x"].max().to_numpy() if set(CELL) <= set(points.columns) else x)
        if held_out.largest is not None:
            count, said = held_out.largest, f"largest: {held_out.largest}"
        else:
            assert held_out.fraction is not None
            count, said = math.ceil(held_out.fraction * len(cells)), f"fraction: {held_out.fraction:g}"
        if count >= len(cells):
            raise InputError(f"held_out, {said}: {group} has only {len(cells)} cells, nothing would be left to fit")
        mask = x >= cells[-count]
    if not mask.any():
        raise InputError(f"held_out, {said}: no point of {group} has a larger x; the largest is {x.max():g}")
    if mask.all():
        raise InputError(f"held_out, {said}: every point of {group} has a larger x, nothing is left to fit")
    return mask


def predict_held_out(
    estimate: Estimate, points: pd.DataFrame, mask: np.ndarray, group: str, level: float
) -> tuple[HeldOutRecord, ...]:
    """One record per held-out cell (its best run), by compute. points: one group's, with columns x and
    error."""
    if not mask.any():
        return ()
    x, error = points["x"].to_numpy(), points["error"].to_numpy()
    on_frontier = non_dominated(x, error)
    keep = mask.copy()
    if set(CELL) <= set(points.columns):
        cell = points.groupby(list(CELL), dropna=False).ngroup().to_numpy()
        rows = np.flatnonzero(mask)
        keep[rows[~best_per_cell(cell[rows], error[rows])]] = False
    chosen = np.flatnonzero(keep)
    chosen = chosen[np.argsort(x[chosen], kind="stable")]
    predicted = estimate.predict(x[chosen])
    lower, upper = estimate.predict_interval(x[chosen], level)
    return tuple(
        HeldOutRecord(
            group=group,
            model=str(points["model"].iloc[row]) if "model" in points else "",
            samples_seen=int(points["samples_seen"].iloc[row]) if "samples_seen" in points else None,
            x=float(x[row]),
            predicted=float(predicted[i]),
            lower=float(lower[i]),
            upper=float(upper[i]),
            measured=float(error[row]),
            covered=bool(lower[i] <= error[row] <= upper[i]),
            relative_error=float(predicted[i] / error[row] - 1.0) if error[row] else math.inf,
            on_frontier=bool(on_frontier[row]),
        )
        for i, row in enumerate(chosen)
    )
