"""Predictions and plans as tables."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mammut_clip.config.quantity import format_quantity
from mammut_clip.fit.planning.planner import NextRuns
from mammut_clip.fit.planning.predict import Prediction
from mammut_clip.fit.planning.targets import Target
from mammut_clip.fit.run import X_UNITS, FitReport
from mammut_clip.fit.tables import Table
from mammut_clip.fit.thresholds import ThresholdScore


def prediction_table(report: FitReport, predictions: Sequence[Prediction]) -> Table:
    """One row per planned run and law."""
    header = (
        report.spec.group,
        "model",
        "samples",
        X_UNITS[report.spec.x],
        "predicted",
        f"{report.spec.level:.0%} interval",
        "beyond the points",
        "shape of the frontier",
        "by size and samples",
        "measured",
    )
    return Table(header, tuple(_prediction_row(p) for p in predictions))


def candidate_table(plan: NextRuns, hours: str) -> Table:
    """One row per candidate, the most for its hours first; `hours` names their unit."""
    header = (
        "group",
        "model",
        "samples",
        "runs",
        hours,
        "chance to count",
        "variance removed",
        f"per 1,000 {hours}",
        f"expected {plan.target.level:.0%} interval",
    )
    rows = tuple(
        (
            r.place.group,
            r.candidate.shape.model,
            format_quantity(r.candidate.shape.samples_seen),
            str(len(r.candidate.runs)),
            f"{r.candidate.hours:,.3g}" if r.candidate.hours < 100 else f"{r.candidate.hours:,.0f}",
            f"{r.chance:.0%}",
            f"{r.share:.1%}",
            f"{1000 * r.share_per_hour:.2%}",
            ends(plan.target, r.lower, r.upper),
        )
        for r in plan.ranked
    )
    return Table(header, rows)


def sequence_table(plan: NextRuns, hours: str) -> Table:
    """What a budget pays for, one row per cell."""
    header = ("step", "group", "model", "samples", f"{hours} so far", f"expected {plan.target.level:.0%} interval")
    rows = tuple(
        (
            str(number),
            step.ranked.place.group,
            step.ranked.candidate.shape.model,
            format_quantity(step.ranked.candidate.shape.samples_seen),
            f"{step.hours:,.0f}",
            ends(plan.target, step.lower, step.upper),
        )
        for number, step in enumerate(plan.sequence, start=1)
    )
    return Table(header, rows)


def plan_sentences(plan: NextRuns, unit: str, hours: str) -> list[str]:
    """The target as it stands, and what was not ranked."""
    target = plan.target
    at = "" if target.what == "crossing" else f" {unit}"
    said = [f"Now {target}{at} is {value(target)}, {target.level:.0%} interval {ends(target, *target.ends())}."]
    if plan.budget is not None:
        paid = (
            f"{len(plan.sequence)} cells for {plan.sequence[-1].hours:,.0f}" if plan.sequence else "nothing that helps"
        )
        said.append(f"A budget of {plan.budget:,.10g} {hours} pays for {paid}.")
    reasons = Counter(n.reason for n in plan.not_ranked)
    if reasons:
        said.append("Not ranked: " + ", ".join(f"{reason} ({count})" for reason, count in reasons.items()) + ".")
    return said


def record_sentences(records: Sequence[ThresholdScore], unit: str) -> list[str]:
    """How the laws of the same spec did where they were put to the test."""
    return [
        f"Held-out record of {r.group}: fitted up to {r.threshold:.3g} {unit}, the law missed {r.scored} larger runs "
        f"of the frontier by {r.rmse:.4f} (root mean square); {r.covered} of them fell into their interval."
        for r in records
        if r.scored
    ]


def value(target: Target) -> str:
    """What the fitted laws give for a target."""
    return _number(target, target.value)


def ends(target: Target, lower: float, upper: float) -> str:
    """An interval of a target."""
    return f"{_number(target, lower)} to {_number(target, upper)}"


def _number(target: Target, number: float) -> str:
    if target.what != "crossing":
        return f"{number:.4f}"
    return f"{number:.3g}" if np.isfinite(number) else "no crossing"


def _prediction_row(p: Prediction) -> tuple[str, ...]:
    shape = "" if p.frontier is None else "yes" if p.frontier.on_frontier else f"no ({p.frontier.factor:.2g}x samples)"
    return (
        p.place.group,
        p.place.shape.model,
        format_quantity(p.place.shape.samples_seen),
        f"{p.place.x:.3g}",
        f"{p.predicted:.4f}",
        f"{p.lower:.4f} to {p.upper:.4f}",
        f"{p.beyond:.2g}x" if p.extrapolated else "no",
        shape,
        "" if p.run is None else f"{p.run.predicted:.4f}",
        "" if p.measured is None else f"{p.measured:.4f}",
    )
