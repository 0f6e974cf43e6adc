"""Which points of a table a law is fitted to: exact row masks, one method each.

The frontier is the set of runs with the lowest error for their compute. The methods differ in how they find
it; docs/fitting-data.md compares them.
"""

from typing import get_args

import numpy as np
import pandas as pd

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_points import Frontier, FrontierName
from mammut_clip.fit.forms import Array
from mammut_clip.fit.paper_frontier import paper_frontier

METHODS: tuple[FrontierName, ...] = get_args(FrontierName)
CELL = ("model", "samples_seen")
_EDGE = 1e-9
"""Of a bin's width: rounding must not put an x that is an edge below it."""


def frontier(df: pd.DataFrame, x: str, y: str, how: Frontier | str) -> np.ndarray:
    """The rows of `df` that a method keeps, as a bool mask [rows] in the table's order.

    x, y: names of numeric columns, x positive, lower y is better. how: a method's name, or with options
    `Frontier(method="bins", bin_factor=4)`. Raises InputError for an unknown method or column.
    """
    config = _named(how) if isinstance(how, str) else how
    needed = [x, y, *(CELL if config.method == "best_per_cell" else ())]
    for column in needed:
        if column not in df.columns:
            raise InputError(f"frontier: no column {column!r}; {nearest(column, [str(c) for c in df.columns])}")
    xs, ys = df[x].to_numpy(dtype=np.float64), df[y].to_numpy(dtype=np.float64)
    factor = config.bin_factor or 2.0
    match config.method:
        case "all":
            return np.ones(len(df), dtype=bool)
        case "best_per_cell":
            return best_per_cell(cells_of(df), ys)
        case "bins":
            return bins(xs, ys, factor, config.bin_edge)
        case "non_dominated":
            return non_dominated(xs, ys)
        case "quantile":
            assert config.quantile is not None  # the config has made sure of it
            return quantile(xs, ys, config.quantile, factor, config.bin_edge)
        case "paper":
            return paper_frontier(xs, ys)


def _named(method: str) -> Frontier:
    known = next((name for name in METHODS if name == method), None)
    if known is None:
        raise InputError(f"frontier method = {method!r}: no such method; {nearest(method, list(METHODS))}")
    if known == "quantile":
        raise InputError('frontier method = quantile: which one? Frontier(method="quantile", quantile=0.5)')
    return Frontier(method=known)


def cells_of(df: pd.DataFrame) -> np.ndarray:
    """Number [rows] of the cell (model x samples seen) of each row; a row that does not say both is one of its own."""
    number = df.groupby(list(CELL), dropna=False, sort=False).ngroup().to_numpy()
    alone = df[list(CELL)].isna().any(axis=1).to_numpy()
    return np.where(alone, len(df) + np.arange(len(df)), number) if alone.any() else number


def best_per_cell(cell: np.ndarray, y: Array) -> np.ndarray:
    """Mask [n] of the row with the lowest y in each cell; the first of equals."""
    return _of_rank(cell, y, np.zeros(len(y), dtype=int))


def bins(x: Array, y: Array, factor: float = 2.0, edge: float | None = None) -> np.ndarray:
    """Mask [n]: the lowest y in each geometric bin of x, then of these, from left to right, only those below all
    before. The bins begin at edge x factor^i; edge is the smallest x where it is not given."""
    mask = best_per_cell(bin_index(x, factor, edge), y)
    chosen = np.flatnonzero(mask)
    mask[chosen[~non_dominated(x[chosen], y[chosen])]] = False
    return mask


def quantile(x: Array, y: Array, q: float, factor: float = 2.0, edge: float | None = None) -> np.ndarray:
    """Mask [n]: in each bin of n rows the one of rank ceil(q n), counted from the lowest y; the first of equals."""
    index = bin_index(x, factor, edge)
    sizes = np.unique(index, return_inverse=True, return_counts=True)
    count = sizes[2][sizes[1]]
    return _of_rank(index, y, np.ceil(q * count * (1.0 - _EDGE)).astype(int) - 1)


def bin_index(x: Array, factor: float, edge: float | None = None) -> np.ndarray:
    """Number [n] of the bin of each x: i where edge factor^i <= x < edge factor^(i + 1)."""
    return np.floor(np.log(x / (x.min() if edge is None else edge)) / np.log(factor) + _EDGE).astype(int)


def non_dominated(x: Array, y: Array) -> np.ndarray:
    """Mask [n]: rows for which no other row has x no larger and y no larger, one of them smaller; the first of
    equals."""
    order = np.lexsort((np.arange(len(x)), y, x))
    before = np.minimum.accumulate(np.concatenate([[np.inf], y[order]]))[:-1]
    mask = np.zeros(len(x), dtype=bool)
    mask[order[y[order] < before]] = True
    return mask


def _of_rank(group: np.ndarray, y: Array, rank: np.ndarray) -> np.ndarray:
    """Mask [n] of the row of a rank [n] in its group, by rising y and then by place."""
    order = np.lexsort((np.arange(len(y)), y, group))
    starts = np.flatnonzero(np.concatenate([[True], group[order][1:] != group[order][:-1]]))
    own_start = np.repeat(starts, np.diff(np.append(starts, len(y))))
    mask = np.zeros(len(y), dtype=bool)
    mask[order] = np.arange(len(y)) - own_start == rank[order]
    return mask
