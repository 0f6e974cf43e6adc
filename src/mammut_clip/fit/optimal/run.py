"""One spec, one table -> the compute-optimal samples and model size of each group, by each method asked for.

report = run_optimal(load_fit_spec(find_file("fit", "paper-figure6")), Path("runs_datacomp_cosine.parquet"))
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_optimal import OptimalMethod, OptimalSpec
from mammut_clip.fit.grid import Grid, cell_weights, read_grids
from mammut_clip.fit.joint.law import JointLaw, fit_joint
from mammut_clip.fit.optimal.frontier import frontier_law
from mammut_clip.fit.optimal.isoflop import isoflop_law
from mammut_clip.fit.optimal.line import AllocationLaw, Target
from mammut_clip.fit.optimal.parametric import parametric_law
from mammut_clip.fit.table import FilterCount, load_table

TARGETS: tuple[Target, ...] = ("samples", "size")


@dataclass(frozen=True)
class Prediction:
    """What one law says of one compute."""

    group: str
    method: OptimalMethod
    target: Target
    compute: float
    """GFLOPs."""
    value: float
    lower: float
    upper: float
    extrapolated: bool
    """The compute lies outside the range that the law was made from."""


@dataclass(frozen=True, eq=False)
class OptimalGroup:
    """One group: its runs, and what each method made of them."""

    name: str
    grid: Grid
    """The best run of each cell."""
    laws: tuple[AllocationLaw, ...]
    """By method, then samples before size."""
    joint: JointLaw | None
    """Behind the parametric method."""
    problems: dict[str, str]
    """Method and target -> why there is no law."""


@dataclass(frozen=True, eq=False)
class OptimalReport:
    """What a spec of optimal allocation gave."""

    spec: OptimalSpec
    groups: tuple[OptimalGroup, ...]
    counts: tuple[FilterCount, ...]

    def predictions(self) -> tuple[Prediction, ...]:
        """Every law at every compute that the spec asks for."""
        return tuple(
            _predict(group.name, law, compute, self.spec.level)
            for group in self.groups
            for law in group.laws
            for compute in self.spec.ask
        )

    def to_json_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        level = self.spec.level
        return {
            "spec": self.spec.model_dump(mode="json"),
            "selection": [asdict(count) for count in self.counts],
            "groups": {
                g.name: {
                    "cells": len(g.grid),
                    "laws": [_law_json(law, level) for law in g.laws],
                    "joint": None if g.joint is None else g.joint.to_json_dict(level),
                    "problems": g.problems,
                }
                for g in self.groups
            },
            "predictions": [asdict(p) for p in self.predictions()],
        }


def run_optimal(spec: OptimalSpec, table: pd.DataFrame | Path | None = None) -> OptimalReport:
    """Every group of a spec by every method. Raises InputError for a table that does not hold what the spec asks for,
    and where no method gives a law for any group."""
    frame, source = load_table(spec, table)
    grids, counts = read_grids(spec, frame, source)
    groups = tuple(_group(grid.best(), spec) for grid in grids.values())
    if not any(group.laws for group in groups):
        why = "; ".join(f"{g.name}, {what}: {reason}" for g in groups for what, reason in g.problems.items())
        raise InputError(f"{source}: no optimal allocation can be told: {why}")
    return OptimalReport(spec, groups, counts)


def _group(grid: Grid, spec: OptimalSpec) -> OptimalGroup:
    laws: list[AllocationLaw] = []
    problems: dict[str, str] = {}
    weights = cell_weights(grid, spec.bootstrap)
    joint: JointLaw | None = None
    for method in spec.methods:
        for target in TARGETS:
            try:
                match method:
                    case "frontier":
                        found = frontier_law(grid, target, keep_edges=spec.edges == "keep", weights=weights)
                    case "isoflop":
                        found = isoflop_law(
                            grid, target, bin_factor=spec.bin_factor, size_factor=spec.size_factor, weights=weights
                        )
                    case "parametric":
                        joint = joint or _joint(grid, spec)
                        found = parametric_law(grid, target, joint)
                laws += _with_draws(found)
            except InputError as error:
                problems[f"{method}, {target}"] = str(error)
    return OptimalGroup(grid.name, grid, tuple(laws), joint, problems)


def _joint(grid: Grid, spec: OptimalSpec) -> JointLaw:
    return fit_joint(
        grid.size,
        grid.samples,
        grid.error,
        spec.surface,
        cell=grid.cell,
        models=grid.labels,
        bootstrap=spec.bootstrap,
        largest_error=spec.largest_error,
        rows=grid.labels,
    )


def _with_draws(law: AllocationLaw) -> list[AllocationLaw]:
    """The law alone. Raises InputError where so few draws gave a line that there is no interval."""
    if len(law.draws) < law.drawn / 2:
        raise InputError(f"only {len(law.draws)} of {law.drawn} draws of the cells leave enough optima for a line")
    return [law]


def _predict(group: str, law: AllocationLaw, compute: float, level: float) -> Prediction:
    lower, upper = law.interval(compute, level)
    outside = not law.compute_range[0] <= compute <= law.compute_range[1]
    value = float(law.predict(compute))
    return Prediction(group, law.method, law.target, compute, value, float(lower), float(upper), outside)


def _law_json(law: AllocationLaw, level: float) -> dict[str, Any]:
    record: dict[str, Any] = {
        "method": law.method,
        "target": law.target,
        "exponent": law.exponent,
        "interval": list(law.exponent_interval(level)),
        "log_coefficient": law.level - law.exponent * law.centre,
        "compute_range": list(law.compute_range),
        "draws": len(law.draws),
        "drawn": law.drawn,
    }
    if law.optima is not None:
        o = law.optima
        record["optima"] = [
            {"compute": float(c), "value": float(v) if np.isfinite(v) else None, "used": bool(u), "at_edge": w}
            for c, v, u, w in zip(o.compute, o.value, o.used, o.why, strict=True)
        ]
    return record
