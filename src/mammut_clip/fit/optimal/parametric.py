"""Optimal allocation from a joint law: where the surface is least along size x samples = constant."""

import numpy as np

from mammut_clip.config.errors import InputError
from mammut_clip.fit.grid import Grid
from mammut_clip.fit.joint.law import JointLaw, optimal_size
from mammut_clip.fit.optimal.line import AllocationLaw, Target, log_ratio


def parametric_law(grid: Grid, target: Target, law: JointLaw) -> AllocationLaw:
    """The allocation that a joint law of the grid's runs implies (Hoffmann et al. 2022, approach 3).

    Raises InputError where the law does not depend on size or on samples.
    """
    if lost := [name for name in law.at_bound if name in ("A", "alpha", "B", "beta")]:
        raise InputError(f"{', '.join(lost)} of the joint law ended at a bound: it has no optimum to speak of")
    centre = sum(law.fit.centre) + log_ratio(grid)
    found = np.column_stack(optimal_size(law.fit, np.concatenate([law.fit.theta[None], law.thetas])))
    slope, level = found[:, 0], found[:, 1]
    if target == "samples":
        slope, level = 1.0 - slope, sum(law.fit.centre) - level
    return AllocationLaw(
        method="parametric",
        target=target,
        exponent=float(slope[0]),
        level=float(level[0]),
        centre=float(centre),
        draws=np.column_stack([level[1:], slope[1:]]),
        drawn=len(law.thetas),
        compute_range=(float(grid.compute.min()), float(grid.compute.max())),
    )
