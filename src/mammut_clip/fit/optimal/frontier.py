"""Optimal allocation by frontier regression: a line in logs through the non-dominated runs of a grid.

A run at the edge of the grid (the smallest or largest model, the least or most samples) says that a better allocation
may lie outside. Where small compute is best spent on the smallest model there is, samples can only grow as compute
does, which pulls the exponent of samples towards 1. To leave out the runs at the edge alone would not do: of those
beside them only the ones that scattered inwards are on the frontier. So the line is laid through the stretch of
compute between: above every frontier run at the lower edges, below every one at the upper.
"""

import numpy as np
from numpy.typing import NDArray

from mammut_clip.config.errors import InputError
from mammut_clip.fit.grid import Grid
from mammut_clip.fit.optimal.line import LEAST_OPTIMA, AllocationLaw, Optima, Target, log_line, values_of
from mammut_clip.fit.residuals import Array

_SAME = 1e-6
"""A model's size, as compute over samples, may differ in its last digits from one number of samples to the next."""


def frontier_law(grid: Grid, target: Target, *, keep_edges: bool, weights: Array) -> AllocationLaw:
    """The line through the non-dominated runs of a grid with one run per cell.

    weights [S, n]: draws of cells; each has its own frontier. Raises InputError where too few runs are left.
    """
    low, high = edges(grid)
    x, y = np.log(grid.compute), np.log(values_of(grid, target))
    whole = non_dominated_draws(grid, np.ones((1, len(grid))))
    inside = whole if keep_edges else whole & between(x, whole, low, high)
    found = np.flatnonzero(whole[0])
    if inside.sum() < LEAST_OPTIMA:
        raise InputError(
            f"of {len(found)} non-dominated runs {int(inside.sum())} lie between the lower and the upper edge of the "
            f"grid; a line needs {LEAST_OPTIMA}"
        )
    centre = float(x[inside[0]].mean())
    level, exponent = log_line(x, y[None], inside, centre)[0]
    again = non_dominated_draws(grid, weights)
    if not keep_edges:
        again &= between(x, again, low, high)
    drawn = log_line(x, np.broadcast_to(y, weights.shape), again, centre)
    order = found[np.argsort(x[found], kind="stable")]
    why = _reasons(grid, order, inside[0])
    optima = Optima(grid.compute[order], np.exp(y[order]), why, inside[0][order])
    kept = optima.compute[optima.used]
    return AllocationLaw(
        method="frontier",
        target=target,
        exponent=float(exponent),
        level=float(level),
        centre=centre,
        draws=drawn[np.isfinite(drawn).all(axis=1)],
        drawn=len(drawn),
        compute_range=(float(kept.min()), float(kept.max())),
        optima=optima,
    )


def edges(grid: Grid) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks [n]: runs of the smallest model or the least samples, and those of the largest or most that are not."""
    low, high = np.zeros(len(grid), dtype=bool), np.zeros(len(grid), dtype=bool)
    for values in (grid.size, grid.samples):
        low |= values <= values.min() * (1 + _SAME)
        high |= values >= values.max() * (1 - _SAME)
    return low, high & ~low


def between(
    x: Array, on_frontier: NDArray[np.bool_], low: NDArray[np.bool_], high: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """[S, n]: runs above every frontier run at a lower edge and below every one at an upper edge, for log compute x [n]
    and frontiers [S, n]."""
    floor = np.where(on_frontier & low, x, -np.inf).max(axis=1, keepdims=True)
    ceiling = np.where(on_frontier & high, x, np.inf).min(axis=1, keepdims=True)
    return (x > floor) & (x < ceiling)


def _reasons(grid: Grid, order: NDArray[np.int64], used: NDArray[np.bool_]) -> tuple[str, ...]:
    """Why each run of the frontier lies at the edge of the grid, or between such runs and is not used; else empty."""
    reasons = np.full(len(grid), "", dtype=object)
    reasons[~used] = "between these"
    for values, names in (
        (grid.samples, ("least samples", "most samples")),
        (grid.size, ("smallest model", "largest model")),
    ):
        reasons[values <= values.min() * (1 + _SAME)], reasons[values >= values.max() * (1 - _SAME)] = names
    return tuple(str(reasons[i]) for i in order)


def non_dominated_draws(grid: Grid, weights: Array) -> NDArray[np.bool_]:
    """[S, n]: runs that are in the draw and that no run of the draw with as little compute equals or beats."""
    order = np.lexsort((np.arange(len(grid)), grid.error, grid.compute))
    error = np.where(weights[:, order] > 0, grid.error[order], np.inf)
    before = np.minimum.accumulate(error, axis=1)[:, :-1]
    mask = np.zeros(weights.shape, dtype=bool)
    mask[:, order] = error < np.concatenate([np.full((len(error), 1), np.inf), before], axis=1)
    return mask
