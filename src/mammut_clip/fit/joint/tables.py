"""What a report of joint laws says, as tables."""

from mammut_clip.config.fit_grid import SizeName
from mammut_clip.config.quantity import format_quantity
from mammut_clip.fit.joint.run import JointReport
from mammut_clip.fit.tables import Table, yes

SIZES: dict[SizeName, str] = {"gflops_per_sample": "GFLOPs per sample", "params": "parameters"}


def joint_law_table(report: JointReport) -> Table:
    """Parameters with intervals, and the evidence that each surface is the best of its form."""
    names = report.groups[0].law.fit.form.parameters
    rows = []
    for g in report.groups:
        ends = g.law.interval(report.spec.level)
        values = [f"{g.law.params[p]:.4g} ({ends[p][0]:.3g} to {ends[p][1]:.3g})" for p in names]
        agreeing = f"{g.law.fit.starts_agreeing} of {g.law.fit.starts}"
        fit = (f"{g.law.fit.objective:.6g}", f"{g.law.rmse:.4f}", yes(g.law.fit.converged), agreeing)
        flags = ", ".join(f"{p} at its bound" for p in g.law.at_bound) or "none"
        rows.append((g.name, g.law.surface.form, *values, str(g.law.n), *fit, flags))
    tail = ("points", "objective", "rmse", "converged", "starts agreeing", "flags")
    return Table((report.spec.group, "form", *names, *tail), tuple(rows))


def exponent_table(report: JointReport) -> Table:
    """Exponents of compute in the size and the samples of least error, which follow from each law."""
    level = f"{report.spec.level:.0%} interval"
    rows = []
    for g in report.groups:
        ends = g.law.interval(report.spec.level)
        cells = [g.name]
        for name, value in (("size", g.law.size_exponent), ("samples", 1.0 - g.law.size_exponent)):
            low, high = ends[f"{name}_exponent"]
            cells += [f"{value:.4f}", f"{low:.3f} to {high:.3f}"]
        rows.append(tuple(cells))
    size = SIZES[report.spec.size]
    return Table((report.spec.group, f"optimal size ({size})", level, "optimal samples", level), tuple(rows))


def joint_held_out_table(report: JointReport) -> Table:
    """Prediction, interval and measurement of each held-out run."""
    interval = f"{report.spec.level:.0%} interval"
    header = (report.spec.group, "model", "samples", "GFLOPs", "predicted", interval, "measured", "covered")
    rows = tuple(
        (
            r.group,
            r.label,
            format_quantity(round(r.samples)),
            f"{r.compute:.3g}",
            f"{r.predicted:.4f}",
            f"{r.lower:.4f} to {r.upper:.4f}",
            f"{r.measured:.4f}",
            yes(r.covered),
        )
        for r in report.held_out
    )
    return Table(header, rows)
