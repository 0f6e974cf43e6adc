"""What a law cost: the trainings behind its points, each counted once.

A run with a constant learning rate gives a point at every checkpoint and costs what its last one does, where a cosine
schedule needs a run for each. `points` is the cost of the trainings that gave the fitted points, `searched` that of all
trainings in which these were found, hyper-parameter sweeps with them; held-out runs count in neither.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from mammut_clip.config.fit_rows import RowSpec
from mammut_clip.fit.table.columns import CONSTANT, ROW, as_numbers
from mammut_clip.fit.tables import Table

HOURS = "gpu_hours"
"""Column of a training's GPU-hours, the same in all its rows."""


@dataclass(frozen=True)
class Spent:
    """Trainings and what they cost."""

    trainings: int
    gflops: float | None
    """In the convention of `LawCost.convention`, each training up to the last of its rows that counts here; None where
    the table has none."""
    gpu_hours: float | None
    """None unless the table has them of every training."""


@dataclass(frozen=True)
class LawCost:
    """What one group's law cost."""

    group: str
    fitted: int
    """Points of the law."""
    convention: str | None
    """paper or exact."""
    points: Spent
    searched: Spent

    def to_json_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def law_costs(groups: Mapping[str, pd.DataFrame], spec: RowSpec) -> tuple[LawCost, ...]:
    """The cost of each group's law. Each frame holds the selected rows with the bool columns `fitted` and, where some
    are, `held_out`."""
    return tuple(_cost(name, points, spec) for name, points in groups.items())


def cost_table(costs: tuple[LawCost, ...], group: str) -> Table:
    """The costs side by side, in GPU-hours where every group has them, else in GFLOPs; shares are of the first one."""
    hours = all(c.searched.gpu_hours is not None for c in costs)
    convention = next((c.convention for c in costs if c.convention), "paper")
    unit = "GPU-hours" if hours else f"GFLOPs ({convention})"
    header = (group, "points", "trainings", f"their {unit}", "share", "trainings searched", f"their {unit}", "share")
    rows = []
    for cost in costs:
        cells = [cost.group, str(cost.fitted)]
        for spent, reference in ((cost.points, costs[0].points), (cost.searched, costs[0].searched)):
            value, whole = (one.gpu_hours if hours else one.gflops for one in (spent, reference))
            share = "-" if value is None or not whole else f"{value / whole:.1%}"
            cells += [str(spent.trainings), _number(value, hours), share]
        rows.append(tuple(cells))
    return Table(header, tuple(rows))


def _cost(name: str, points: pd.DataFrame, spec: RowSpec) -> LawCost:
    known = points[~points["held_out"]] if "held_out" in points else points
    key = _trainings(known, spec)
    column = next((c for c in (spec.x, "gflops_paper", "gflops_exact") if c.startswith("gflops") and c in known), None)
    fitted = known["fitted"]
    return LawCost(
        group=name,
        fitted=int(fitted.sum()),
        convention=None if column is None else column.removeprefix("gflops_"),
        points=_spent(known[fitted], key[fitted], column),
        searched=_spent(known, key, column),
    )


def _trainings(points: pd.DataFrame, spec: RowSpec) -> pd.Series:
    """The training of each row: its run, where the table names runs; else, of rows with a constant schedule, what the
    spec says, and every other row by itself."""
    if "run" in points:
        return _numbered(points, [c for c in ("sweep", "run", spec.table_column) if c in points])
    alone = _numbered(points, [ROW])
    if spec.constant_training is None:
        return alone
    shared = _numbered(points, [*spec.constant_training]) + len(points)
    return shared.where(points["schedule"] == CONSTANT, alone)


def _numbered(points: pd.DataFrame, columns: list[str]) -> pd.Series:
    return points.groupby(columns, dropna=False, sort=False).ngroup()


def _spent(rows: pd.DataFrame, key: pd.Series, column: str | None) -> Spent:
    """Of the trainings [rows] of some rows: compute to the last of these rows, and GPU-hours."""
    gflops = None if column is None else float(as_numbers(rows[column]).groupby(key).max().sum())
    hours = as_numbers(rows[HOURS]).groupby(key).max() if HOURS in rows else None
    known = hours is not None and bool(hours.notna().all())
    return Spent(int(key.nunique()), gflops, float(hours.sum()) if hours is not None and known else None)


def _number(value: float | None, hours: bool) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if hours and value >= 100 else f"{value:.4g}"
