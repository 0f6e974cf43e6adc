"""What a fit says, as tables: the laws, their predictions for held-out runs, and which rows they come from."""

from mammut_clip.config.quantity import format_quantity
from mammut_clip.fit.procedure import Fitted
from mammut_clip.fit.profile import Profile
from mammut_clip.fit.run import X_UNITS, FitReport
from mammut_clip.fit.tables import Table, with_error, yes


def law_table(report: FitReport) -> Table:
    """Parameters, standard errors, likelihood intervals and quality of the law that is shown of each group."""
    laws = [g.law for g in report.groups]
    names = list(dict.fromkeys(name for law in laws for name in law.params))
    profiled = list(dict.fromkeys(p.parameter for g in report.groups for p in g.profiles))
    rows = []
    for g in report.groups:
        law, by_name = g.law, {p.parameter: p for p in g.profiles}
        values = [with_error(law.params[n], law.se[n]) if n in law.params else "" for n in names]
        intervals = [_interval(by_name.get(n)) for n in profiled]
        flags = ", ".join(f"{p} at its bound" for p in law.at_bound) or "none"
        quality = (str(law.n), f"{law.rmse:.4f}", yes(law.converged), flags)
        rows.append((g.name, _form(g.fitted), *values, *intervals, *quality))
    within = tuple(f"{n}, {report.spec.level:.0%} profile" for n in profiled)
    return Table((report.spec.group, "form", *names, *within, "points", "rmse", "converged", "flags"), tuple(rows))


def _form(fitted: Fitted) -> str:
    """The form of the law that is shown; beside an average, which is what predicts, its share in it."""
    if fitted.procedure != "average":
        return fitted.law.form
    weight = next(m.weight for m in fitted.members if m.law is fitted.law)
    return f"{fitted.law.form}, {weight:.0%} of the average"


def _interval(profile: Profile | None) -> str:
    if profile is None:
        return ""
    low, high = ("no end" if v is None else f"{v:.3g}" for v in (profile.lower, profile.upper))
    return f"{low} to {high}"


def held_out_table(report: FitReport) -> Table:
    """Prediction, interval and measurement of each held-out run."""
    x, interval = X_UNITS[report.spec.x], f"{report.spec.level:.0%} interval"
    header = (report.spec.group, "model", "samples", x, "predicted", interval, "measured", "covered", "rel. error")
    rows = tuple(
        (
            r.group,
            r.model,
            "" if r.samples_seen is None else format_quantity(r.samples_seen),
            f"{r.x:.3g}",
            f"{r.predicted:.4f}",
            f"{r.lower:.4f} to {r.upper:.4f}",
            f"{r.measured:.4f}",
            yes(r.covered),
            f"{r.relative_error:+.1%}",
        )
        for r in report.held_out
    )
    return Table(header, rows)


def prediction_table(report: FitReport) -> Table:
    """Each group's error at every x that the spec asks for, with intervals for a new measurement and for the law."""
    x, level = X_UNITS[report.spec.x], f"{report.spec.level:.0%}"
    header = (report.spec.group, x, "predicted", f"{level} of a run", f"{level} of the law", "beyond the fit")
    rows = tuple(
        (
            g.name,
            f"{a.x:.3g}",
            f"{a.predicted:.4f}",
            f"{a.lower:.4f} to {a.upper:.4f}",
            f"{a.law_lower:.4f} to {a.law_upper:.4f}",
            _beyond(g.estimate.x_range, a.x),
        )
        for g in report.groups
        for a in g.asked
    )
    return Table(header, rows)


def _beyond(ends: tuple[float, float], x: float) -> str:
    """How far x lies outside the points that were fitted."""
    factor = max(ends[0] / x, x / ends[1])
    return "no" if factor <= 1 else f"by a factor of {factor:.3g}"


def selection_table(report: FitReport) -> Table:
    """Each step of the selection of rows, with how many it removed and left."""
    return Table(("selection", "removed", "left"), tuple((str(c), str(c.removed), str(c.left)) for c in report.counts))
