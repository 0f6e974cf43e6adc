"""One spec, one table -> a joint law per group with its held-out record.

report = run_joint(load_fit_spec(find_file("fit", "chinchilla")), Path("data"))
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_joint import JointSpec
from mammut_clip.fit.grid import Grid, read_grids
from mammut_clip.fit.heldout import held_out_mask
from mammut_clip.fit.joint.law import JointLaw, fit_joint
from mammut_clip.fit.table import FilterCount, load_table


@dataclass(frozen=True)
class JointRecord:
    """One held-out run: what the joint law says of it, beside what it measured."""

    group: str
    label: str
    """The model, or the row where the table names no models."""
    size: float
    samples: float
    compute: float
    """GFLOPs."""
    predicted: float
    lower: float
    upper: float
    measured: float
    covered: bool
    """The measurement lies within the interval."""

    @property
    def relative_error(self) -> float | None:
        """(predicted - measured) / measured; None where the measured error is 0."""
        return self.predicted / self.measured - 1.0 if self.measured else None


@dataclass(frozen=True, eq=False)
class JointGroup:
    """One group: its points, its law, its held-out record."""

    name: str
    grid: Grid
    """Every point, fitted or held out."""
    fitted: NDArray[np.bool_]
    """[n] mask of the points that the law was fitted to."""
    law: JointLaw
    held_out: tuple[JointRecord, ...]


@dataclass(frozen=True, eq=False)
class JointReport:
    """What a spec of joint laws gave."""

    spec: JointSpec
    groups: tuple[JointGroup, ...]
    counts: tuple[FilterCount, ...]

    @property
    def held_out(self) -> tuple[JointRecord, ...]:
        """The held-out records of all groups."""
        return tuple(record for group in self.groups for record in group.held_out)

    def to_json_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "spec": self.spec.model_dump(mode="json"),
            "selection": [asdict(count) for count in self.counts],
            "groups": {
                g.name: {
                    "law": g.law.to_json_dict(self.spec.level),
                    "points": len(g.grid),
                    "held_out": [asdict(r) | {"relative_error": r.relative_error} for r in g.held_out],
                }
                for g in self.groups
            },
        }


def run_joint(spec: JointSpec, table: pd.DataFrame | Path | None = None) -> JointReport:
    """Fit every group of a spec. Raises InputError for a table that does not hold what the spec asks for."""
    frame, source = load_table(spec, table)
    grids, counts = read_grids(spec, frame, source)
    return JointReport(spec, tuple(_fit_group(grid, spec, source) for grid in grids.values()), counts)


def _fit_group(grid: Grid, spec: JointSpec, source: str) -> JointGroup:
    points = grid.best() if spec.points == "best_per_cell" else grid
    held = held_out_mask(pd.DataFrame({"x": points.compute}), spec.held_out, grid.name)
    used = points.take(~held)
    try:
        law = fit_joint(
            used.size,
            used.samples,
            used.error,
            spec.surface,
            cell=used.cell,
            models=used.labels,
            bootstrap=spec.bootstrap,
            largest_error=spec.largest_error,
            rows=used.labels,
        )
        law.interval(spec.level)  # refuses points that leave no scatter to judge by
        records = _records(law, points.take(held), spec.level) if held.any() else ()
    except InputError as error:
        kept = f"{len(points)} points, {int(held.sum())} held out"
        raise InputError(f"{source}: {spec.group} {grid.name} ({kept}): {error}") from error
    return JointGroup(grid.name, points, ~held, law, records)


def _records(law: JointLaw, held: Grid, level: float) -> tuple[JointRecord, ...]:
    """One record per held-out point, by compute."""
    predicted = law.predict(held.size, held.samples)
    lower, upper = law.predict_interval(held.size, held.samples, level)
    return tuple(
        JointRecord(
            group=held.name,
            label=held.labels[i],
            size=float(held.size[i]),
            samples=float(held.samples[i]),
            compute=float(held.compute[i]),
            predicted=float(predicted[i]),
            lower=float(lower[i]),
            upper=float(upper[i]),
            measured=float(held.error[i]),
            covered=bool(lower[i] <= held.error[i] <= upper[i]),
        )
        for i in np.argsort(held.compute, kind="stable")
    )
