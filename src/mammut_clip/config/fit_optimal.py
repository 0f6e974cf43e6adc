"""The spec of compute-optimal allocation: how many samples, and how large a model, for a given compute."""

from typing import Annotated, Literal

from pydantic import Field

from mammut_clip.config.fit_grid import GridSpec, Surface

OptimalMethod = Literal["frontier", "isoflop", "parametric"]


class OptimalSpec(GridSpec):
    """For each group, the samples seen and the model size of least error as powers of compute, by several methods."""

    kind: Literal["optimal"]
    """What kind of spec this is; see config/fit_kinds.py."""
    methods: Annotated[tuple[OptimalMethod, ...], Field(min_length=1)] = ("frontier", "isoflop", "parametric")
    """frontier: a line in logs through the non-dominated runs. isoflop: a line in logs through the minima of parabolas,
    one per bin of compute. parametric: from the joint law of `surface`."""
    edges: Literal["drop", "keep"] = "drop"
    """What `frontier` does where its runs are of the smallest or largest model, or of the least or most samples, of the
    grid: there a better allocation may lie outside it. drop: the line is laid through the stretch of compute without
    such runs. keep: through all, the paper's way."""
    bin_factor: Annotated[float, Field(gt=1)] = 3.0
    """`isoflop`: ratio of the largest to the least compute of a bin. Each bin overlaps the next by half, in logs."""
    size_factor: Annotated[float, Field(gt=1)] = 5.0
    """`isoflop`: sizes within this factor of a bin's minimum, to either side, shape its parabola."""
    surface: Surface = Surface()
    """`parametric`: the joint law and what is minimised."""
    ask: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Compute, in GFLOPs, at which the optimal samples and size are predicted."""
