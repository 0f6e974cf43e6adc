"""How many runs stand behind each point of a law, and what fewer would have given.

A cell (model x samples seen) is tried with several learning rates and batch sizes, and its best run is the point. The
more runs, the lower that point, so a procedure that was swept more looks better than it is beside one that was swept
less. How much is known exactly: of a cell's k runs, m drawn without replacement have an expected best of

    sum over i of y_(i) C(k - i, m - 1) / C(k, m),     y_(1) <= y_(2) <= ... <= y_(k)

(order statistics of a finite population), the unbiased estimate of what a sweep of m such runs gives. Nothing is
assumed about the scatter, so nothing is said about m > k: of a cell with one run no one knows how much a sweep would
have gained. Scatter between recipes and scatter between seeds are not told apart; that would take repeated runs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mammut_clip.fit.forms import Array
from mammut_clip.fit.frontier import CELL, cells_of
from mammut_clip.fit.tables import Table

FEWER = (1, 2, 4, 8)
"""Numbers of runs per cell that tables show."""


@dataclass(frozen=True)
class Fewer:
    """What m runs per cell would have given in place of all."""

    runs: int
    """m."""
    cells: int
    """Cells of fitted points with more than m runs, over which the mean is taken."""
    excess: float | None
    """Mean of (expected best of m) / (best of all) - 1; None where there is no such cell."""


@dataclass(frozen=True)
class BestOf:
    """The runs behind one group's points."""

    group: str
    cells: int
    runs: int
    fewest: int
    """Runs in the cell with the fewest."""
    median: float
    most: int
    fitted_cells: int
    """Cells that the fitted points are from."""
    fitted_median: float
    """Runs per cell there."""
    single: int
    """How many of them have one run."""
    fewer: tuple[Fewer, ...]
    half: float | None
    """Mean excess with half of each cell's runs (rounded down), over the fitted cells with two runs or more. A further
    doubling gains less than the last one did, as long as it draws from the same recipes."""
    matched_runs: int
    """The smallest `fitted_median` of all groups, rounded down."""
    matched: float
    """Mean excess over all fitted cells if none had had more than `matched_runs` runs: what the group owes to a larger
    sweep than the others'."""

    def to_json_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def expected_best(values: Array, m: int) -> float:
    """Expected lowest of m of the values [k], drawn without replacement, 1 <= m <= k."""
    k = len(values)
    if not 1 <= m <= k:
        raise ValueError(f"m must lie between 1 and {k}, got {m}")
    # C(k - i, m - 1) / C(k, m) from i to i + 1, without the large numbers.
    weight, total = m / k, 0.0
    for i, y in enumerate(np.sort(values), start=1):
        total += weight * float(y)
        weight *= (k - i - m + 1) / (k - i) if i < k else 0.0
    return total


def best_of(groups: Mapping[str, pd.DataFrame]) -> tuple[BestOf, ...]:
    """The runs behind the points of each group. Each frame has the columns model, samples_seen, error and the bool
    column `fitted`; of groups without the first two nothing is said."""
    cells = {name: _cells(points) for name, points in groups.items() if set(CELL) <= set(points.columns)}
    cells = {name: both for name, both in cells.items() if both[1]}
    if not cells:
        return ()
    matched = int(min(np.median([len(c) for c in fitted]) for _, fitted in cells.values()))
    return tuple(_describe(name, every, fitted, matched) for name, (every, fitted) in cells.items())


def best_of_table(found: tuple[BestOf, ...], group: str) -> Table:
    """Runs per cell, and by how much the points would lie higher with fewer."""
    matched = found[0].matched_runs if found else 1
    header = (
        group,
        "runs",
        "cells",
        "runs per cell",
        "of fitted points",
        "with one run",
        *(f"best of {m}" for m in FEWER),
        "half the runs",
        f"at most {matched} per cell",
    )
    rows = tuple(
        (
            b.group,
            str(b.runs),
            str(b.cells),
            f"{b.fewest} to {b.most}, median {b.median:g}",
            f"median {b.fitted_median:g}",
            f"{b.single} of {b.fitted_cells}",
            *(_percent(f.excess) + (f" ({f.cells})" if f.cells else "") for f in b.fewer),
            _percent(b.half),
            _percent(b.matched),
        )
        for b in found
    )
    return Table(header, rows)


def _cells(points: pd.DataFrame) -> tuple[list[Array], list[Array]]:
    """Errors of each cell's runs, held-out ones left out: of all cells, and of those that fitted points are from."""
    known = points[~points["held_out"]] if "held_out" in points else points
    cell = cells_of(known)
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[order])) + 1
    every = np.split(known["error"].to_numpy(dtype=np.float64)[order], starts)
    fitted = np.split(known["fitted"].to_numpy(dtype=bool)[order], starts)
    return every, [errors for errors, used in zip(every, fitted, strict=True) if used.any()]


def _describe(name: str, every: list[Array], fitted: list[Array], matched: int) -> BestOf:
    sizes, own = np.array([len(c) for c in every]), np.array([len(c) for c in fitted])
    swept = [c for c in fitted if len(c) > 1]
    return BestOf(
        group=name,
        cells=len(every),
        runs=int(sizes.sum()),
        fewest=int(sizes.min()),
        median=float(np.median(sizes)),
        most=int(sizes.max()),
        fitted_cells=len(fitted),
        fitted_median=float(np.median(own)),
        single=int((own == 1).sum()),
        fewer=tuple(_fewer(m, [c for c in fitted if len(c) > m]) for m in FEWER),
        half=float(np.mean([_excess(c, len(c) // 2) for c in swept])) if swept else None,
        matched_runs=matched,
        matched=float(np.mean([_excess(c, min(matched, len(c))) for c in fitted])),
    )


def _fewer(m: int, cells: list[Array]) -> Fewer:
    return Fewer(m, len(cells), float(np.mean([_excess(c, m) for c in cells])) if cells else None)


def _excess(errors: Array, m: int) -> float:
    best = float(errors.min())
    return expected_best(errors, m) / best - 1.0 if best > 0 else 0.0


def _percent(excess: float | None) -> str:
    return "-" if excess is None else f"{excess:+.1%}"
