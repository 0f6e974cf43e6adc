"""Optimal allocation by isoFLOP: runs of about one compute, a parabola through their errors, a line through the minima.

Hoffmann et al. 2022, approach 2. A grid of models and samples has no two runs of exactly one compute; so the runs of a
bin are taken together, and the slope of error along compute is fitted beside the parabola:

    log error = k0 + k1 t + k2 t^2 + k3 log(compute / centre of the bin),    t = log size

The samples that go with the best size are what is left of the bin's compute.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammut_clip.config.errors import InputError
from mammut_clip.fit.grid import Grid
from mammut_clip.fit.optimal.line import LEAST_OPTIMA, AllocationLaw, Optima, Target, log_line, log_ratio
from mammut_clip.fit.residuals import Array

_LEAST_RUNS = 6
_LEAST_VALUES = 5
_ROUNDS = 3
_INDEPENDENT = 1e6
"""Condition number above which size and compute of a bin's runs are one thing, and no parabola can be told."""


@dataclass(frozen=True, eq=False)
class Bin:
    """The runs of about one compute."""

    rows: NDArray[np.int64]
    """[k] of the grid."""
    centre: float
    """Mean of log compute."""
    basis: Array
    """[k, 3 or 4]: 1, t, t^2 and, unless all runs have one compute, log compute; t is log size less `middle`."""
    middle: float
    inside: tuple[float, float]
    """Second least and second largest t: beyond them a single model would decide about the minimum."""


def isoflop_law(grid: Grid, target: Target, *, bin_factor: float, size_factor: float, weights: Array) -> AllocationLaw:
    """The line through the minima of a grid with one run per cell.

    weights [S, n]: draws of cells; each has its own parabolas. Raises InputError where too few minima are left.
    """
    bins = compute_bins(grid, bin_factor)
    x = np.array([b.centre for b in bins])
    everyone = np.ones((1, len(grid)))
    vertices = [vertex(b, grid.error, everyone, size_factor) for b in bins]
    size, why = np.array([found[0] for found, _ in vertices]), tuple(str(reason[0]) for _, reason in vertices)
    used = np.array([not reason for reason in why], dtype=bool)
    if used.sum() < LEAST_OPTIMA:
        raise InputError(
            f"{int(used.sum())} of {len(bins)} bins of compute have their least error inside the grid; "
            f"a line needs {LEAST_OPTIMA}"
        )
    centre = float(x[used].mean())
    product = x - log_ratio(grid)
    y = size if target == "size" else product - size
    level, exponent = log_line(x, y[None], used[None], centre)[0]
    again = [vertex(b, grid.error, weights, size_factor) for b in bins]
    inside = np.column_stack([reason == "" for _, reason in again])
    sizes = np.column_stack([found for found, _ in again])
    lines = log_line(x, sizes if target == "size" else product - sizes, inside, centre)
    return AllocationLaw(
        method="isoflop",
        target=target,
        exponent=float(exponent),
        level=float(level),
        centre=centre,
        draws=lines[np.isfinite(lines).all(axis=1)],
        drawn=len(lines),
        compute_range=(float(np.exp(x[used].min())), float(np.exp(x[used].max()))),
        optima=Optima(np.exp(x), np.exp(y), why, used),
    )


def compute_bins(grid: Grid, factor: float) -> list[Bin]:
    """Bins of compute, each `factor` wide and beginning half of that above the one before; those with too few runs or
    too few different sizes are left out."""
    compute, t = np.log(grid.compute), np.log(grid.size)
    width = np.log(factor)
    bins: list[Bin] = []
    for start in np.arange(compute.min(), compute.max(), width / 2.0):
        rows = np.flatnonzero((compute >= start - 1e-9) & (compute < start + width - 1e-9))
        values = np.unique(np.round(t[rows], 6))
        repeated = bool(bins) and np.array_equal(rows, bins[-1].rows)
        if len(rows) >= _LEAST_RUNS and len(values) >= _LEAST_VALUES and not repeated:
            found = _bin(rows, compute[rows], t[rows], (float(values[1]), float(values[-2])))
            bins += [found] if found is not None else []
    return bins


def _bin(rows: NDArray[np.int64], compute: Array, t: Array, inside: tuple[float, float]) -> Bin | None:
    """A bin with its basis; None where the runs' size and compute do not vary independently."""
    middle, centre = float(t.mean()), float(compute.mean())
    columns = [np.ones(len(t)), t - middle, (t - middle) ** 2]
    if np.ptp(compute) > 1e-3:
        columns.append(compute - centre)
    basis = np.column_stack(columns)
    if np.linalg.cond(basis / np.linalg.norm(basis, axis=0)) > _INDEPENDENT:
        return None
    return Bin(rows, centre, basis, middle, inside)


def vertex(b: Bin, error: Array, weights: Array, size_factor: float) -> tuple[Array, NDArray[np.object_]]:
    """Where a bin's parabola is least, as log size [S], and why that is not an optimum [S], empty where it is.

    error [n] and weights [S, n] of all runs. NaN where there is no minimum. Errors rise more steeply on one side of the
    optimum than on the other, so a parabola through all sizes would miss it: after the first one only sizes within
    size_factor of its minimum take part, or the nearest _LEAST_RUNS where those are fewer.
    """
    target, w = np.log(np.maximum(error[b.rows], 1e-12)), weights[:, b.rows]
    t = b.basis[:, 1]
    found = _minimum(b, target, w)
    for _ in range(_ROUNDS):
        away = np.abs(t - np.clip(np.nan_to_num(found), t.min(), t.max())[:, None])
        nearest = np.sort(np.where(w > 0, away, np.inf), axis=1)[:, min(_LEAST_RUNS, len(t)) - 1]
        reach = np.where(np.isnan(found), np.inf, np.maximum(np.log(size_factor), nearest))
        found = _minimum(b, target, np.where(away <= reach[:, None] + 1e-9, w, 0.0))
    reason = np.full(len(found), "", dtype=object)
    reason[found + b.middle < b.inside[0]], reason[found + b.middle > b.inside[1]] = (
        "below the sizes",
        "above the sizes",
    )
    reason[np.isnan(found)] = "no minimum"
    return found + b.middle, reason


def _minimum(b: Bin, target: Array, weights: Array) -> Array:
    """Least point [S] of the parabola through target [k] with weights [S, k], in t of the basis; NaN where there is
    none."""
    normal = np.einsum("ki,sk,kj->sij", b.basis, weights, b.basis)
    right = np.einsum("ki,sk,k->si", b.basis, weights, target)
    # Draws with fewer different runs than coefficients have no parabola; the trace of a diagonal lets them be solved.
    enough = (weights > 0).sum(axis=1) > b.basis.shape[1]
    normal += 1e-10 * np.einsum("kk->k", b.basis.T @ b.basis) * np.eye(b.basis.shape[1])
    k = np.linalg.solve(normal, right[..., None])[..., 0]
    rises = enough & (k[:, 2] > 0)
    found = np.full(len(k), np.nan)
    found[rises] = -k[rises, 1] / (2.0 * k[rises, 2])
    return found
