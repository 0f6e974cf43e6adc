"""A results table -> one grid of runs per group: size, samples, compute, error."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_grid import GridSpec
from mammut_clip.fit.frontier import CELL, best_per_cell
from mammut_clip.fit.residuals import Array
from mammut_clip.fit.table import ROW, FilterCount, numbers, require_columns, select


@dataclass(frozen=True, eq=False)
class Grid:
    """n runs of one group."""

    name: str
    size: Array
    """[n] model size: GFLOPs per sample or parameters."""
    samples: Array
    """[n] samples seen."""
    compute: Array
    """[n] GFLOPs."""
    error: Array
    """[n]."""
    cell: NDArray[np.int64]
    """[n] number of the run's cell (model x samples seen), from 0; where the table names no models every run is its
    own."""
    labels: tuple[str, ...]
    """[n] the model, or the row where the table names no models."""

    def __len__(self) -> int:
        return len(self.size)

    def take(self, mask: NDArray[np.bool_]) -> "Grid":
        """The runs of a mask [n], with their cells numbered anew."""
        where = np.flatnonzero(mask)
        return replace(
            self,
            size=self.size[where],
            samples=self.samples[where],
            compute=self.compute[where],
            error=self.error[where],
            cell=np.unique(self.cell[where], return_inverse=True)[1],
            labels=tuple(self.labels[i] for i in where),
        )

    def best(self) -> "Grid":
        """The run of lowest error of each cell."""
        return self.take(best_per_cell(self.cell, self.error))


def read_grids(spec: GridSpec, table: pd.DataFrame, source: str) -> tuple[dict[str, Grid], tuple[FilterCount, ...]]:
    """The grids of a spec by group, in its order, and what each step of the selection removed.

    table: as `load_table` gives it. Raises InputError for missing columns and for rows that cannot be used, by name.
    """
    selection = select(table, spec, source)
    points = _sized(selection.points, spec, source)
    present = list(points[spec.group].unique())
    names = list(spec.groups) if spec.groups else sorted(present, key=str)
    if missing := [name for name in names if name not in present]:
        raise InputError(f"{source}: no row has {spec.group} = {', '.join(missing)}")
    return {str(name): _grid(str(name), points[points[spec.group] == name]) for name in names}, selection.counts


def _sized(points: pd.DataFrame, spec: GridSpec, source: str) -> pd.DataFrame:
    """The points with the columns compute (GFLOPs), size and samples_seen."""
    points = points.assign(compute=points["x"])
    if spec.size == "params":
        points = points.assign(size=_positive(points, "params", source))
    if spec.flop_per_size_sample is not None:
        if "samples_seen" in points:
            raise InputError(f"{source}: has samples_seen; flop_per_size_sample is for tables without it")
        points = points.assign(samples_seen=points["compute"] * 1e9 / (spec.flop_per_size_sample * points["size"]))
    points = points.assign(samples_seen=_positive(points, "samples_seen", source))
    if spec.size == "gflops_per_sample":
        points = points.assign(size=points["compute"] / points["samples_seen"])
    return points


def _positive(points: pd.DataFrame, column: str, source: str) -> pd.Series:
    require_columns(points, [column], source)
    values = numbers(points, column, source)
    if (values <= 0).any():
        raise InputError(f"{source}: {column} must be positive: {', '.join(points[ROW][values <= 0].iloc[:8])}")
    return values


def _grid(name: str, points: pd.DataFrame) -> Grid:
    named = "model" in points
    cell = points.groupby(list(CELL), dropna=False, sort=True).ngroup().to_numpy() if named else np.arange(len(points))
    return Grid(
        name=name,
        size=points["size"].to_numpy(dtype=np.float64),
        samples=points["samples_seen"].to_numpy(dtype=np.float64),
        compute=points["compute"].to_numpy(dtype=np.float64),
        error=points["error"].to_numpy(dtype=np.float64),
        cell=np.asarray(cell, dtype=np.int64),
        labels=tuple(points["model" if named else ROW].astype(str)),
    )
