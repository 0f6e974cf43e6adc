"""What a report of optimal allocation says, as tables."""

from mammut_clip.fit.joint.tables import SIZES
from mammut_clip.fit.optimal.run import OptimalReport
from mammut_clip.fit.tables import Table


def allocation_table(report: OptimalReport) -> Table:
    """The exponent of compute in the samples and the size of least error, by group and method."""
    level = f"{report.spec.level:.0%} interval"
    header = (report.spec.group, "method", "optimum of", "exponent", level, "optima", "at the edge", "GFLOPs")
    rows: list[tuple[str, ...]] = []
    for g in report.groups:
        for law in g.laws:
            low, high = law.exponent_interval(report.spec.level)
            used = "" if law.optima is None else str(int(law.optima.used.sum()))
            edge = "" if law.optima is None else str(sum(law.optima.at_edge().values()))
            ends = f"{law.compute_range[0]:.2g} to {law.compute_range[1]:.2g}"
            exponent = f"{law.exponent:.4f}"
            rows.append((g.name, law.method, law.target, exponent, f"{low:.3f} to {high:.3f}", used, edge, ends))
        for what, reason in g.problems.items():
            method, target = what.split(", ")
            rows.append((g.name, method, target, "none", reason, "", "", ""))
    return Table(header, tuple(rows))


def asked_table(report: OptimalReport) -> Table:
    """The optimal samples and size at each compute that the spec asks for."""
    header = (
        report.spec.group,
        "method",
        "GFLOPs",
        "optimum of",
        "predicted",
        f"{report.spec.level:.0%} interval",
        "beyond the data",
    )
    rows = tuple(
        (
            p.group,
            p.method,
            f"{p.compute:.4g}",
            "samples" if p.target == "samples" else SIZES[report.spec.size],
            f"{p.value:.4g}",
            f"{p.lower:.3g} to {p.upper:.3g}",
            "yes" if p.extrapolated else "no",
        )
        for p in report.predictions()
    )
    return Table(header, rows)
