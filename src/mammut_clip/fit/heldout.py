"""The score of a law: what it predicts for runs it did not see, beside what they measured."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import HeldOut
from mammut_clip.fit.estimate import Estimate
from mammut_clip.fit.frontier import CELL, best_per_cell, cells_of, non_dominated
from mammut_clip.fit.table.columns import as_numbers


@dataclass(frozen=True)
class HeldOutRecord:
    """One held-out point."""

    group: str
    model: str
    """Empty where the table has no model column."""
    samples_seen: int | None
    """None where the table does not say."""
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
        mask, said = x > held_out.above, f"above = {held_out.above:g}"
    else:
        # All runs of a cell are held out with it; where there are no cells every row is its own.
        cell = cells_of(points) if set(CELL) <= set(points.columns) else np.arange(len(x))
        by_cell = pd.Series(x).groupby(cell)
        cells = np.sort(by_cell.max().to_numpy())
        if held_out.largest is not None:
            count, said = held_out.largest, f"largest = {held_out.largest}"
        else:
            assert held_out.fraction is not None
            count, said = math.ceil(held_out.fraction * len(cells)), f"fraction = {held_out.fraction:g}"
        if count >= len(cells):
            raise InputError(f"held_out.{said}: {group} has only {len(cells)} cells, nothing would be left to fit")
        mask = by_cell.transform("max").to_numpy() >= cells[-count]
    if not mask.any():
        raise InputError(f"held_out.{said}: no point of {group} has a larger x; the largest is {x.max():g}")
    if mask.all():
        raise InputError(f"held_out.{said}: every point of {group} has a larger x, nothing is left to fit")
    return mask


def predict_held_out(
    estimate: Estimate, points: pd.DataFrame, mask: np.ndarray, group: str, level: float
) -> tuple[HeldOutRecord, ...]:
    """One record per held-out cell (its best run), by compute. points: one group's, with columns x and
    error."""
    if not mask.any():
        return ()
    x, error = points["x"].to_numpy(), points["error"].to_numpy()
    samples = as_numbers(points["samples_seen"]).to_numpy() if "samples_seen" in points else None
    on_frontier = non_dominated(x, error)
    keep = mask.copy()
    if set(CELL) <= set(points.columns):
        cell = cells_of(points)
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
            samples_seen=int(samples[row]) if samples is not None and np.isfinite(samples[row]) else None,
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
