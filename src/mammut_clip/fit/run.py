"""One spec, one table -> laws, held-out record, comparison, and their files. The entry point of `mammut-clip
fit`.

spec = load_config(LawSpec, find_file("fit", "toy"))
report = run_spec(spec, Path("runs/quickstart/results.parquet"), Path("runs/quickstart/fit"))
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import LawSpec, XName
from mammut_clip.fit.compare import Comparisons, check_reference, compare, short
from mammut_clip.fit.frontier import CELL
from mammut_clip.fit.group import Draws, GroupFit, cell_names, fit_group
from mammut_clip.fit.heldout import HeldOutRecord
from mammut_clip.fit.json_values import finite
from mammut_clip.fit.table import ROW, FilterCount, load_table, numbers, require_columns, select
from mammut_clip.fit.warn import law_warnings

X_LABELS: dict[XName, str] = {
    "gflops_paper": "compute (GFLOPs, paper convention)",
    "gflops_exact": "compute (GFLOPs, exact convention)",
    "samples_seen": "samples seen",
}
X_UNITS: dict[XName, str] = {
    "gflops_paper": "GFLOPs (paper)",
    "gflops_exact": "GFLOPs (exact)",
    "samples_seen": "samples",
}


@dataclass(frozen=True, eq=False)
class FitReport:
    """What a spec gave."""

    spec: LawSpec
    groups: tuple[GroupFit, ...]
    counts: tuple[FilterCount, ...]
    comparisons: Comparisons

    @property
    def x_label(self) -> str:
        """Axis label with its unit and convention."""
        return X_LABELS[self.spec.x]

    @property
    def y_label(self) -> str:
        """Axis label of the error."""
        spec = self.spec
        named = " ".join(part for part in (spec.task, spec.metric) if part) or spec.columns.get("value", "")
        return f"error ({named})" if named else "error"

    @property
    def held_out(self) -> tuple[HeldOutRecord, ...]:
        """The held-out records of all groups."""
        return tuple(record for group in self.groups for record in group.held_out)

    def sentences(self) -> list[str]:
        """The comparisons in plain words, with what they do not show, what laws hide, thresholds without scores."""
        unit = X_UNITS[self.spec.x]
        hidden = [f"{g.name}: {words}." for g in self.groups for words in self._warnings(g)]
        unscored = [
            f"{g.name}: no point lies beyond the threshold of {short(t)} {unit}, which therefore has no score."
            for g in self.groups
            for t in self.spec.thresholds
            if t not in {score.threshold for score in g.thresholds}
        ]
        return self.comparisons.sentences(unit) + hidden + unscored

    def to_json_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "spec": self.spec.model_dump(mode="json"),
            "selection": [asdict(count) for count in self.counts],
            "groups": {
                g.name: {
                    "law": g.law.to_json_dict(),
                    "profiles": [asdict(profile) for profile in g.profiles],
                    "record": g.fitted.record_json(),
                    "points": len(g.points),
                    "held_out": [finite(asdict(record)) for record in g.held_out],
                    "thresholds": [score.to_json_dict() for score in g.thresholds],
                    "asked": [answer.to_json_dict() for answer in g.asked],
                    "warnings": self._warnings(g),
                }
                for g in self.groups
            },
            "comparisons": self.comparisons.to_json_dict(X_UNITS[self.spec.x]),
        }

    def _warnings(self, group: GroupFit) -> list[str]:
        return law_warnings(group.fitted, X_UNITS[self.spec.x], "the error")


def run_spec(spec: LawSpec, table: pd.DataFrame | Path | None = None, out: Path | None = None) -> FitReport:
    """Fit every group of a spec; write JSON, tables and figures into the folder `out` where one is given.

    Raises InputError for a table that does not hold what the spec asks for.
    """
    frame, source = load_table(spec, table)
    selection = select(frame, spec, source)
    labels = selection.points[spec.group].astype(str)
    names = spec.groups or sorted(labels.unique())
    if missing := [g for g in names if not (labels == g).any()]:
        left = ", ".join(sorted(labels.unique()))
        raise InputError(f"{source}: no row of {spec.group} = {', '.join(missing)} is left; there are {left}")
    check_reference(spec.comparison, names)
    if spec.weights is not None:
        _check_weights(selection.points, spec.weights, source)
    rows = {name: selection.points[labels == name] for name in names}
    draws = _draws(rows, spec, source)
    groups = tuple(fit_group(name, points, spec, draws[name], source) for name, points in rows.items())
    measured = {g.name: (float(g.points["x"].min()), float(g.points["x"].max())) for g in groups}
    compared = compare({g.name: g.estimate for g in groups}, measured, spec.level, spec.comparison)
    report = FitReport(spec, groups, selection.counts, compared)
    if out is not None:
        from mammut_clip.fit.law_outputs import write_fit

        write_fit(report, out)
    return report


def _check_weights(points: pd.DataFrame, column: str, source: str) -> None:
    require_columns(points, [column], f"{source}: weights")
    weights = numbers(points, column, f"{source}: weights")
    if (weights <= 0).any():
        first = points[ROW][weights <= 0].iloc[0]
        raise InputError(
            f"{source}: weights: {column} must be positive, and is {weights[weights <= 0].iloc[0]:g} in {first}"
        )


def _draws(rows: dict[str, pd.DataFrame], spec: LawSpec, source: str) -> dict[str, Draws]:
    """Groups whose cells are drawn share the draws; residuals and runs of different groups are drawn apart."""
    if spec.bootstrap.method == "cells":
        for points in rows.values():
            require_columns(points, list(CELL), f"{source}: bootstrap: method: cells")
            numbers(points, "samples_seen", f"{source}: bootstrap: method: cells")
        units = sorted({name for points in rows.values() for name in cell_names(points, spec.group)})
        return {name: Draws(spec.bootstrap.seed, tuple(units)) for name in rows}
    return {name: Draws(spec.bootstrap.seed + i, ()) for i, name in enumerate(rows)}
