"""What a run of any shape reaches: a joint law of model size and samples over every measured cell of a group.

The law of a frontier speaks of runs whose model fits their samples. The joint law (fit/joint) speaks of the planned run
itself, and of what the best shape at its compute would reach. Size is GFLOPs per sample, in the units of the spec.
"""

from dataclasses import dataclass

import numpy as np

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.fit_grid import CellBootstrap, Surface
from mammut_clip.fit.frontier import CELL, best_per_cell
from mammut_clip.fit.group import GroupFit
from mammut_clip.fit.joint import JointLaw, fit_joint
from mammut_clip.fit.planning.places import Place, samples_of


@dataclass(frozen=True)
class RunPrediction:
    """A planned run under the joint law of its group."""

    predicted: float
    """Error of the run."""
    lower: float
    upper: float
    """Ends of the interval for its measurement."""
    best: float
    """Error of the best shape at its compute."""
    best_samples: float
    """Samples that this shape sees."""
    extrapolated: bool
    """The run's size or its samples lie outside those that were fitted."""


def run_law(group: GroupFit, spec: LawSpec) -> JointLaw | None:
    """The joint law of the best runs of a group's cells that were not held out; None where the table does not tell
    cells, or has too few of them."""
    points = group.points[~group.points["held_out"]]
    samples = samples_of(points)
    if samples is None or not set(CELL) <= set(points.columns):
        return None
    x, error = points["x"].to_numpy(dtype=np.float64), points["error"].to_numpy(dtype=np.float64)
    best = best_per_cell(points.groupby(list(CELL), dropna=False, sort=False).ngroup().to_numpy(), error)
    names = [" ".join(map(str, cell)) for cell in points.loc[best, list(CELL)].itertuples(index=False)]
    bootstrap = CellBootstrap(count=spec.bootstrap.count, seed=spec.bootstrap.seed)
    surface = Surface(error_at_zero=spec.error_at_zero)
    try:
        law = fit_joint(
            (x / samples)[best],
            samples[best],
            error[best],
            surface,
            models=points.loc[best, "model"].astype(str),
            bootstrap=bootstrap,
            largest_error=spec.largest_error,
            rows=names,
        )
    except InputError:
        return None
    return law if law.fit.degrees_of_freedom > 0 else None


def predict_run(law: JointLaw, place: Place, level: float) -> RunPrediction | None:
    """The planned run under the joint law; None for a run whose size is not known."""
    size, samples = place.gflops_per_sample, float(place.shape.samples_seen)
    if size is None:
        return None
    lower, upper = law.predict_interval(size, samples, level)
    best_size, best_samples = law.optimum(place.x)
    return RunPrediction(
        predicted=float(law.predict(size, samples)),
        lower=float(lower),
        upper=float(upper),
        best=float(law.predict(best_size, best_samples)),
        best_samples=float(best_samples),
        extrapolated=law.extrapolated(size, samples),
    )
