"""Runs as points of a grid of model sizes and samples seen, and draws of it."""

from mammut_clip.fit.grid.draws import cell_weights
from mammut_clip.fit.grid.points import Grid, read_grids

__all__ = ["Grid", "cell_weights", "read_grids"]
