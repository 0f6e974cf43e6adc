"""The record of a law, as it stands beside every law: how well its form extrapolated inside the data and beyond."""

from collections.abc import Sequence

from mammut_clip.fit.procedure import Fitted, Procedure
from mammut_clip.fit.run import X_UNITS, FitReport
from mammut_clip.fit.tables import Table


def record_table(report: FitReport) -> Table:
    """Per group and form: weight, AICc, miss over all cuts in the space of the residuals, which the weights come from,
    and the error beyond each cut inside the fitted points."""
    cuts = report.spec.choice.cuts
    space = Procedure.of(report.spec).objective.residuals
    rolling = "all cuts" if space == "raw" else f"all cuts, of {space} error"
    header = (report.spec.group, "form", "weight", "AICc", rolling, *(f"from {_share(c)}" for c in cuts))
    rows = [row for g in report.groups for row in _rows(g.name, g.fitted, cuts)]
    return Table(header, tuple(rows))


def threshold_table(report: FitReport) -> Table:
    """Per group and threshold of the spec: error and coverage on the runs beyond it."""
    header = (
        report.spec.group,
        f"fitted up to ({X_UNITS[report.spec.x]})",
        "points",
        "scored",
        "rmse",
        "bias",
        f"inside {report.spec.level:.0%}",
        "rmse, all cells",
    )
    rows = tuple(
        (
            s.group,
            f"{s.threshold:.3g}",
            str(s.fitted),
            str(s.scored),
            f"{s.rmse:.4f}",
            f"{s.bias:+.4f}",
            f"{s.covered} of {s.scored}",
            f"{s.rmse_of_cells:.4f}",
        )
        for g in report.groups
        for s in g.thresholds
    )
    return Table(header, rows)


def _rows(group: str, fitted: Fitted, cuts: Sequence[float]) -> list[tuple[str, ...]]:
    largest = fitted.estimate.x_range[1]
    rows = []
    for member in fitted.members:
        by_cut = {s.cut: s for s in fitted.scores if s.form == member.law.form}
        found = [by_cut.get(cut * largest) for cut in cuts]
        rows.append(
            (
                group,
                member.law.form,
                f"{member.weight:.2f}",
                "" if member.law.aicc is None else f"{member.law.aicc:.1f}",
                "" if member.rolling is None else f"{member.rolling:.4f}",
                *("" if s is None else f"{s.rmse:.4f} ({s.predicted})" for s in found),
            )
        )
    return rows


def _share(cut: float) -> str:
    inverse = 1.0 / cut
    return f"x/{inverse:g}" if inverse == round(inverse) else f"{cut:g} x"
