"""The spec of a joint law: error as a function of model size and samples seen."""

from typing import Literal

from mammut_clip.config.fit import HeldOut
from mammut_clip.config.fit_grid import GridSpec, Surface


class JointSpec(GridSpec):
    """One joint law per group, fitted to part of a results table and scored on the rest."""

    kind: Literal["joint"]
    """What kind of spec this is; see config/fit_kinds.py."""
    points: Literal["best_per_cell", "all"] = "best_per_cell"
    """best_per_cell: the lowest error of each model x samples seen. all: every row."""
    surface: Surface = Surface()
    """The law and what is minimised."""
    held_out: HeldOut | None = None
    """Points kept from the fit by their compute and predicted by it; none where this is not given."""
