"""The bootstrap over cells: which cells of a grid each draw holds, and how often."""

import numpy as np

from mammut_clip.config.fit_grid import CellBootstrap
from mammut_clip.fit.grid.points import Grid
from mammut_clip.fit.residuals import Array


def cell_weights(grid: Grid, bootstrap: CellBootstrap, least: int = 1) -> Array:
    """How often each run of the grid is drawn [count, n]: its cell's number, all runs of a cell together.

    Draws with fewer than `least` different cells, too few for what is fitted, are drawn again. The same seed gives the
    same draws for the same number of cells.
    """
    cells = int(grid.cell.max()) + 1
    rng = np.random.default_rng([bootstrap.seed, 5])
    drawn = np.zeros((bootstrap.count, cells))
    missing = np.arange(bootstrap.count)
    while missing.size:
        drawn[missing] = rng.multinomial(cells, np.full(cells, 1.0 / cells), size=missing.size)
        missing = missing[(drawn[missing] > 0).sum(axis=1) < min(least, cells)]
    return drawn[:, grid.cell]
