"""A power of compute: the samples or the size of least error, with draws of it and the optima it comes from."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mammut_clip.config.fit_optimal import OptimalMethod
from mammut_clip.fit.grid import Grid
from mammut_clip.fit.quantiles import middle
from mammut_clip.fit.residuals import Array

Target: TypeAlias = Literal["samples", "size"]
LEAST_OPTIMA = 3
"""Fewer optima than this leave nothing to judge a line by."""


@dataclass(frozen=True, eq=False)
class Optima:
    """m optima, and which of them a line goes through."""

    compute: Array
    """[m] GFLOPs."""
    value: Array
    """[m] samples or size of least error; NaN where there is no minimum."""
    why: tuple[str, ...]
    """[m] why an optimum lies at the edge of the grid; empty for those inside."""
    used: NDArray[np.bool_]
    """[m]."""

    def at_edge(self) -> dict[str, int]:
        """How many optima lie at the edge of the grid, by reason."""
        return {reason: self.why.count(reason) for reason in dict.fromkeys(self.why) if reason}


@dataclass(frozen=True, eq=False)
class AllocationLaw:
    """value = exp(level) (compute / exp(centre))^exponent."""

    method: OptimalMethod
    target: Target
    exponent: float
    level: float
    """Log of the value at `centre`."""
    centre: float
    """Log compute."""
    draws: Array
    """[k, 2]: level and exponent from each draw of cells that gave a line."""
    drawn: int
    """Number of draws; those that left fewer than LEAST_OPTIMA optima inside the grid gave none."""
    compute_range: tuple[float, float]
    """Least and largest compute of what it was made from; beyond it is extrapolation."""
    optima: Optima | None = None
    """What a line was laid through; None for the parametric method."""

    def predict(self, compute: float | Array) -> Array:
        """Samples or size of least error at this compute (GFLOPs)."""
        return np.asarray(np.exp(self.level + self.exponent * (np.log(compute) - self.centre)))

    def interval(self, compute: float | Array, level: float = 0.95) -> tuple[Array, Array]:
        """Ends of an interval for `predict`, in the shape of compute."""
        at = np.asarray(compute, dtype=np.float64)
        values = self.draws[:, :1] + self.draws[:, 1:] * (np.log(at.ravel()) - self.centre)
        low, high = np.exp(middle(values, level))
        return low.reshape(at.shape), high.reshape(at.shape)

    def exponent_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Ends of an interval for the exponent."""
        low, high = middle(self.draws[:, 1], level)
        return float(low), float(high)


def values_of(grid: Grid, target: Target) -> Array:
    """[n] samples or sizes of a grid's runs."""
    return grid.samples if target == "samples" else grid.size


def log_ratio(grid: Grid) -> float:
    """Log of compute / (size x samples), its mean over the runs: 0 where size is GFLOPs per sample."""
    return float(np.mean(np.log(grid.compute) - np.log(grid.size) - np.log(grid.samples)))


def log_line(x: Array, y: Array, used: NDArray[np.bool_], centre: float) -> Array:
    """Straight lines through the points that are used: level at `centre` and slope [S, 2], for x [m], y [S, m] and
    used [S, m]. NaN where fewer than LEAST_OPTIMA are used, or all at one x."""
    count = used.sum(axis=1)
    ys = np.where(used, y, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y = (used @ x) / count, ys.sum(axis=1) / count
        away = np.where(used, x - mean_x[:, None], 0.0)
        slope = np.einsum("sm,sm->s", away, ys) / np.einsum("sm,sm->s", away, away)
    enough = (count >= LEAST_OPTIMA) & (np.abs(away).max(axis=1) > 1e-9)
    lines = np.column_stack([mean_y + slope * (centre - mean_x), slope])
    return np.where(enough[:, None], lines, np.nan)
