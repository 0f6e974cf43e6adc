"""A report of optimal allocation as what is printed and written."""

from functools import partial

import numpy as np
import pandas as pd

from mammut_clip.fit.optimal.figure import optimal_figure
from mammut_clip.fit.optimal.line import AllocationLaw
from mammut_clip.fit.optimal.run import TARGETS, OptimalGroup, OptimalReport
from mammut_clip.fit.optimal.tables import allocation_table, asked_table
from mammut_clip.fit.output import Outputs


def optimal_outputs(report: OptimalReport) -> Outputs:
    """Everything that a report of optimal allocation is shown as."""
    tables = {"exponents": allocation_table(report)}
    if report.spec.ask:
        tables["predictions"] = asked_table(report)
    return Outputs(
        title=report.spec.title,
        json=report.to_json_dict(),
        tables=tables,
        figures={f"optimal_{target}": partial(optimal_figure, report, target) for target in TARGETS},
        sentences=tuple(sentence for group in report.groups for sentence in _sentences(group)),
        frames={"optima": _frame(report)},
    )


def _sentences(group: OptimalGroup) -> list[str]:
    """What was left out at the edges of the grid, and what rests on it."""
    # What lies at the edge is the same for samples and for size.
    shown = [law for law in group.laws if law.target == "samples" and law.optima is not None and law.optima.at_edge()]
    said = [f"{group.name}, {law.method}: {_edge_words(law)}." for law in shown]
    said += [f"{group.name}, {what}: no law: {reason}." for what, reason in group.problems.items()]
    if group.joint is not None and not group.joint.fit.converged:
        said.append(f"{group.name}, parametric: the search for the joint law did not end at an optimum.")
    return said


def _edge_words(law: AllocationLaw) -> str:
    assert law.optima is not None
    reasons = law.optima.at_edge()
    total, listed = sum(reasons.values()), ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    if law.method == "isoflop":
        return f"{total} of {len(law.optima.why)} bins have no least error inside the grid ({listed}) and are left out"
    runs = f"{total} of {len(law.optima.why)} runs of the frontier lie at the edge of the grid ({listed})"
    kept = bool((law.optima.used & np.array([bool(why) for why in law.optima.why])).any())
    return f"{runs} and shape the line: its exponent speaks of the grid as well" if kept else f"{runs} and are left out"


def _frame(report: OptimalReport) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "group": group.name,
                "method": law.method,
                "target": law.target,
                "compute": law.optima.compute,
                "value": law.optima.value,
                "used": law.optima.used,
                "at_edge": law.optima.why,
            }
        )
        for group in report.groups
        for law in group.laws
        if law.optima is not None
    ]
    columns = ["group", "method", "target", "compute", "value", "used", "at_edge"]
    return pd.concat(parts) if parts else pd.DataFrame(columns=columns)
