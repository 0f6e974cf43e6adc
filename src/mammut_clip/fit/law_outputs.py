"""A report of laws as what is printed and written: laws, held-out record, comparisons, the figure."""

from functools import partial
from pathlib import Path

import pandas as pd

from mammut_clip.fit.best_of import best_of, best_of_table
from mammut_clip.fit.compare.figure import against_reference, comparison_figure
from mammut_clip.fit.compare.tables import comparison_tables
from mammut_clip.fit.cost_of_law import cost_table, law_costs
from mammut_clip.fit.figures import law_figure
from mammut_clip.fit.law_tables import held_out_table, law_table, prediction_table, selection_table
from mammut_clip.fit.output import Draw, Outputs, write_outputs
from mammut_clip.fit.points_figure import has_points_figure, points_figure
from mammut_clip.fit.record_tables import record_table, threshold_table
from mammut_clip.fit.run import X_UNITS, FitReport
from mammut_clip.fit.table import ROW


def law_outputs(report: FitReport) -> Outputs:
    """Everything that a report of laws is shown as."""
    group, unit = report.spec.group, X_UNITS[report.spec.x]
    points = {g.name: g.points for g in report.groups}
    runs, costs = best_of(points), law_costs(points, report.spec)
    tables = {
        "laws": law_table(report),
        "predictions": prediction_table(report),
        "record": record_table(report),
        "thresholds": threshold_table(report),
        "held_out": held_out_table(report),
        **comparison_tables(report.comparisons, unit),
        "runs_per_cell": best_of_table(runs, group),
        "cost": cost_table(costs, group),
        "selection": selection_table(report),
    }
    more = {"runs_per_cell": [one.to_json_dict() for one in runs], "cost": [one.to_json_dict() for one in costs]}
    return Outputs(
        title=report.spec.title,
        json=report.to_json_dict() | more,
        tables={name: table for name, table in tables.items() if table.rows},
        figures=_figures(report),
        sentences=tuple(report.sentences()),
        frames={"points": pd.concat(list(points.values())).drop(columns=ROW)},
    )


def _figures(report: FitReport) -> dict[str, Draw]:
    figures: dict[str, Draw] = {"law": partial(law_figure, report)}
    if has_points_figure(report):
        figures["points"] = partial(points_figure, report)
    if against_reference(report.comparisons):
        figures["comparison"] = partial(comparison_figure, report.comparisons, report.x_label)
    return figures


def write_fit(report: FitReport, out: Path) -> None:
    """Write every file of a report into the folder `out`, which is made where it is missing."""
    write_outputs(law_outputs(report), out)
