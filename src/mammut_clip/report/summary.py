"""A report's first lines: what was found, in plain words, with the numbers that carry it."""

from statistics import median

from mammut_clip.config.quantity import format_quantity
from mammut_clip.fit.compare import short
from mammut_clip.fit.run import X_UNITS, FitReport
from mammut_clip.report.data import ReportData


def summarise(data: ReportData) -> list[str]:
    """One sentence or two per finding."""
    lines = [_scope(data)]
    for report in data.fits:
        lines += [
            _best(report),
            *report.sentences(),
            _record(report),
            *_warnings(report),
        ]
    return [line for line in lines if line]


def _scope(data: ReportData) -> str:
    results = data.results
    if results.empty:
        return "No results yet."
    runs = results["run"].nunique()
    families = " and ".join(sorted(results["family"].astype(str).unique()))
    low, high = (format_quantity(int(v)) for v in (results["samples_seen"].min(), results["samples_seen"].max()))
    return f"{runs} runs of {families}, {results['model'].nunique()} models, {low} to {high} samples seen."


def _best(report: FitReport) -> str:
    parts = []
    for group in report.groups:
        row = group.points.iloc[int(group.points["error"].to_numpy().argmin())]
        model = f" ({row['model']}" if "model" in row else " ("
        parts.append(f"{group.name} {row['error']:.3f}{model} at {short(float(row['x']))} {X_UNITS[report.spec.x]})")
    return f"Lowest {report.y_label}: {', '.join(parts)}."


def _record(report: FitReport) -> str:
    records = report.held_out
    if not records:
        return "No run was held out, so nothing shows how well these laws predict."
    covered = sum(r.covered for r in records)
    of = "budget" if report.spec.x == "samples_seen" else "compute"
    typical = median(abs(r.relative_error) for r in records)
    return (
        f"Fitted without the {len(records)} runs of largest {of}, the laws predicted their error "
        f"with a median deviation of {typical:.1%}; "
        f"{covered} of {len(records)} lie within the {report.spec.level:.0%} "
        "prediction interval."
    )


def _warnings(report: FitReport) -> list[str]:
    lines = []
    for group in report.groups:
        if not group.law.converged:
            lines.append(f"The search for the law of {group.name} did not reach an optimum: do not use it.")
        if group.law.at_bound:
            names = " and ".join(group.law.at_bound)
            lines.append(f"The points of {group.name} do not determine {names} of its law, which ended at a bound.")
        if group.law.n < 8:
            lines.append(f"The law of {group.name} rests on {group.law.n} points.")
    return lines
