"""Which points of a table a law is fitted to: exact row masks, one method each.

The frontier is the set of runs with the lowest error for their compute. The methods differ in how they find
it.
"""

import numpy as np
import pandas as pd

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.fit.forms import Array

METHODS = ("all", "best_per_cell", "bins", "non_dominated")
CELL = ("model", "samples_seen")


def frontier(df: pd.DataFrame, x: str, y: str, method: str, *, bin_factor: float = 2.0) -> np.ndarray:
    """The rows of `df` that `method` keeps, as a bool mask [rows] in the table's order.

    x, y: names of numeric columns, lower y is better. Raises InputError for an unknown method or column.
    """
    needed = [x, y, *(CELL if method == "best_per_cell" else ())]
    for column in needed:
        if column not in df.columns:
            raise InputError(f"frontier: no column {column!r}; {nearest(column, [str(c) for c in df.columns])}")
    xs, ys = df[x].to_numpy(dtype=np.float64), df[y].to_numpy(dtype=np.float64)
    match method:
        case "all":
            return np.ones(len(df), dtype=bool)
        case "best_per_cell":
            return best_per_cell(df.groupby(list(CELL), dropna=False, sort=False).ngroup().to_numpy(), ys)
        case "bins":
            return bins(xs, ys, bin_factor)
        case "non_dominated":
            return non_dominated(xs, ys)
    raise InputError(f"frontier method = {method!r}: no such method; {nearest(method, list(METHODS))}")


def best_per_cell(cell: np.ndarray, y: Array) -> np.ndarray:
    """Mask [n] of the row with the lowest y in each cell; the first of equals."""
    order = np.lexsort((np.arange(len(y)), y, cell))
    first = np.ones(len(y), dtype=bool)
    first[1:] = cell[order][1:] != cell[order][:-1]
    mask = np.zeros(len(y), dtype=bool)
    mask[order[first]] = True
    return mask


def bins(x: Array, y: Array, factor: float = 2.0) -> np.ndarray:
    """Mask [n]: the lowest y in each bin of x (edges x_min, x_min factor, x_min factor^2, ...), then of
    these, from left to right, only those below all before."""
    index = np.floor(np.log(x / x.min()) / np.log(factor) * (1 + 1e-12)).astype(int)
    mask = best_per_cell(index, y)
    chosen = np.flatnonzero(mask)
    mask[chosen[~_falling(x[chosen], y[chosen])]] = False
    return mask


def non_dominated(x: Array, y: Array) -> np.ndarray:
    """Mask [n]: rows for which no other row has x no larger and y no larger, one of them smaller; the first
    of equals."""
    return _falling(x, y)


def _falling(x: Array, y: Array) -> np.ndarray:
    """Rows below every row to their left; at equal x, only the lowest."""
    order = np.lexsort((np.arange(len(x)), y, x))
    before = np.minimum.accumulate(np.concatenate([[np.inf], y[order]]))[:-1]
    mask = np.zeros(len(x), dtype=bool)
    mask[order[y[order] < before]] = True
    return mask
