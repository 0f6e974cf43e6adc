"""One spec, one table -> laws, held-out record, comparison, and their files. The entry point of `mammut-clip
fit`.

spec = load_config(LawSpec, find_file("fit", "toy"))
report = run_spec(spec, Path("runs/quickstart/results.parquet"), Path("runs/quickstart/fit"))
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import LawSpec, XName
from mammut_clip.fit.bootstrap import Bootstrap
from mammut_clip.fit.compare import Comparison, compare
from mammut_clip.fit.frontier import frontier
from mammut_clip.fit.heldout import HeldOutRecord, held_out_mask, predict_held_out
from mammut_clip.fit.law import Law, fit_law
from mammut_clip.fit.table import ROW, FilterCount, numbers, read_table, require_columns, select

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
class GroupFit:
    """One group: its points, its law, its held-out record."""

    name: str
    points: pd.DataFrame
    """Every selected row of the group, with x, error, and the bool columns `fitted` and `held_out`."""
    law: Law
    held_out: tuple[HeldOutRecord, ...]


@dataclass(frozen=True, eq=False)
class FitReport:
    """What a spec gave."""

    spec: LawSpec
    groups: tuple[GroupFit, ...]
    counts: tuple[FilterCount, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def x_label(self) -> str:
        """Axis label with its unit and convention."""
        return X_LABELS[self.spec.x]

    @property
    def y_label(self) -> str:
        """Axis label of the error."""
        named = " ".join(part for part in (self.spec.task, self.spec.metric) if part)
        return f"error ({named})" if named else "error"

    @property
    def bootstrap(self) -> Bootstrap:
        """The draws that every interval of this report comes from."""
        b = self.spec.bootstrap
        return Bootstrap(b.method, b.count, b.seed)

    @property
    def held_out(self) -> tuple[HeldOutRecord, ...]:
        """The held-out records of all groups."""
        return tuple(record for group in self.groups for record in group.held_out)

    def sentences(self) -> list[str]:
        """The comparisons in plain words."""
        return [c.sentence(X_UNITS[self.spec.x]) for c in self.comparisons]

    def to_json_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "spec": self.spec.model_dump(mode="json"),
            "selection": [asdict(count) for count in self.counts],
            "groups": {
                g.name: {
                    "law": g.law.to_json_dict(),
                    "points": len(g.points),
                    "held_out": [_finite(asdict(record)) for record in g.held_out],
                }
                for g in self.groups
            },
            "comparisons": [asdict(c) | {"sentence": c.sentence(X_UNITS[self.spec.x])} for c in self.comparisons],
        }


def run_spec(spec: LawSpec, table: pd.DataFrame | Path | None = None, out: Path | None = None) -> FitReport:
    """Fit every group of a spec; write JSON, tables and figures into the folder `out` where one is given.

    Raises InputError for a table that does not hold what the spec asks for.
    """
    if table is None:
        if spec.table is None:
            raise InputError("the spec names no table: give one on the command line")
        table = Path(spec.table)
    source = str(table) if isinstance(table, Path) else "results table"
    frame = read_table(table) if isinstance(table, Path) else table
    selection = select(frame, spec, source)
    bootstrap = Bootstrap(spec.bootstrap.method, spec.bootstrap.count, spec.bootstrap.seed)
    present = list(selection.points[spec.group].unique())
    names = [g for g in spec.groups if g in present] if spec.groups else sorted(present, key=str)
    missing = [g for g in spec.groups or () if g not in present]
    if missing:
        raise InputError(
            f"{source}: no row has {spec.group} = {', '.join(missing)}; there are {', '.join(map(str, present))}"
        )
    groups = tuple(
        _fit_group(str(name), selection.points[selection.points[spec.group] == name], spec, bootstrap, source)
        for name in names
    )
    measured = {g.name: (float(g.points["x"].min()), float(g.points["x"].max())) for g in groups}
    compared = compare({g.name: g.law for g in groups}, measured, spec.level, bootstrap)
    report = FitReport(spec, groups, selection.counts, compared)
    if out is not None:
        from mammut_clip.fit.output import write_fit

        write_fit(report, out)
    return report


def fit_law_csv(path: Path, x: str, y: str, form: str = "saturation") -> dict[str, Any]:
    """A law of two columns of a CSV or Parquet file: {form, params, se, n, rmse, ...}. InputError names bad
    lines."""
    frame = read_table(path)
    require_columns(frame, [x, y], str(path))
    try:
        # No row names: a pair of columns has no runs, so a repeated pair is a row counted twice.
        xs, ys = numbers(frame, x, str(path)), numbers(frame, y, str(path))
        pairs = pd.DataFrame({"x": xs, "y": ys})
        if pairs.duplicated().any():
            again = frame[ROW][pairs.duplicated(keep=False)]
            raise InputError(f"the same {x} and {y} stand twice: {', '.join(again.iloc[:8])}")
        return fit_law(xs.to_numpy(), ys.to_numpy(), form, rows=frame[ROW].tolist()).to_json_dict()
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error


def _fit_group(name: str, points: pd.DataFrame, spec: LawSpec, bootstrap: Bootstrap, source: str) -> GroupFit:
    held = held_out_mask(points, spec.held_out, name)
    seen = np.flatnonzero(~held)
    chosen = frontier(points.iloc[seen], "x", "error", spec.frontier.method, bin_factor=spec.frontier.bin_factor or 2.0)
    fitted = np.zeros(len(points), dtype=bool)
    fitted[seen[chosen]] = True
    used = points[fitted]
    try:
        law = fit_law(
            used["x"].to_numpy(),
            used["error"].to_numpy(),
            spec.form,
            residuals=spec.residuals,
            rows=used[ROW].tolist(),
        )
        records = predict_held_out(law, points, held, name, spec.level, bootstrap)
    except InputError as error:
        kept = f"{len(points)} rows, {int(held.sum())} held out, {int(fitted.sum())} on the frontier"
        raise InputError(f"{source}: {spec.group} {name} ({kept}): {error}") from error
    return GroupFit(name, points.assign(fitted=fitted, held_out=held), law, records)


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity."""
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in record.items()}
