"""The figure of a fit: error against compute, log-log, with the laws, their bands and what was held out.

Fitted stretch solid, extrapolation thinner and shaded; held-out runs are stars, with the law's interval as a
bar.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mammut_clip.config.atomic import write_bytes
from mammut_clip.fit.run import FitReport, GroupFit
from mammut_clip.fit.style import LIGHT, LINES, MARKERS, Theme, legend, new_figure, plain_log_ticks, slots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def law_figure(report: FitReport, theme: Theme = LIGHT) -> "Figure":
    """Every group's points, law and held-out runs in one pair of axes."""
    figure, axes = new_figure(theme)
    axes.set_xscale("log")
    axes.set_yscale("log")
    slot = slots([g.name for g in report.groups])
    right = max(float(g.points["x"].max()) for g in report.groups) * 1.6
    for group in report.groups:
        i = slot[group.name]
        _draw_law(axes, group, report, right, theme.groups[i], LINES[i])
        _draw_points(axes, group, theme.groups[i], MARKERS[i], theme.background)
    # Room for every point and held-out prediction; a wide band may leave the picture.
    shown = [v for g in report.groups for v in g.points["error"]] + [r.predicted for r in report.held_out]
    axes.set_ylim(max(min(shown), 1e-6) / 1.5, max(shown) * 1.25)
    axes.set_xlabel(report.x_label)
    axes.set_ylabel(report.y_label)
    if report.spec.title:
        axes.set_title(report.spec.title, color=theme.text, fontsize=11)
    plain_log_ticks(axes)
    _key(axes, report, theme)
    return figure


def save_law_figure(report: FitReport, stem: Path) -> tuple[Path, Path]:
    """Write the figure as stem.pdf and stem.png; no date goes in, so that the same report gives the same
    bytes."""
    figure = law_figure(report)
    pdf, png = stem.with_name(stem.name + ".pdf"), stem.with_name(stem.name + ".png")
    for path, options in (
        (pdf, {"metadata": {"CreationDate": None}}),
        (png, {"metadata": {"Software": None}, "dpi": 160}),
    ):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix[1:], **options)
        write_bytes(path, buffer.getvalue())
    return pdf, png


def _draw_law(axes: "Axes", group: GroupFit, report: FitReport, right: float, color: str, line: Any) -> None:
    law = group.law
    x = np.geomspace(float(law.fit.x.min()), right, 200)
    inside = x <= law.fit.x.max() * (1 + 1e-9)
    y = law.predict(x)
    axes.plot(x[inside], y[inside], color=color, linestyle=line, linewidth=1.9, zorder=3)
    axes.plot(x[~inside], y[~inside], color=color, linestyle=line, linewidth=1.0, zorder=3)
    if law.fit.degrees_of_freedom >= 1:
        low, high = law.predict_interval(x, report.spec.level, report.bootstrap)
        axes.fill_between(x, np.maximum(low, y * 1e-2), high, color=color, alpha=0.14, linewidth=0, zorder=1)


def _draw_points(axes: "Axes", group: GroupFit, color: str, marker: str, background: str) -> None:
    rest = group.points[~group.points["fitted"] & ~group.points["held_out"]]
    used = group.points[group.points["fitted"]]
    axes.scatter(
        rest["x"],
        rest["error"],
        s=14,
        marker=marker,
        facecolors="none",
        edgecolors=color,
        alpha=0.5,
        zorder=2,
    )
    axes.scatter(
        used["x"],
        used["error"],
        s=30,
        marker=marker,
        color=color,
        edgecolors=background,
        linewidths=0.6,
        zorder=4,
    )
    for r in group.held_out:
        axes.vlines(r.x, max(r.lower, r.predicted * 1e-2), r.upper, color=color, linewidth=1.6, zorder=4)
        axes.scatter(r.x, r.measured, s=130, marker="*", color=color, edgecolors=background, linewidths=0.7, zorder=5)


def _key(axes: "Axes", report: FitReport, theme: Theme) -> None:
    from matplotlib.lines import Line2D

    slot = slots([g.name for g in report.groups])
    handles = []
    for g in report.groups:
        i = slot[g.name]
        handles.append(
            Line2D(
                [],
                [],
                color=theme.groups[i],
                marker=MARKERS[i],
                linestyle=LINES[i],
                markersize=6,
                label=g.name,
            )
        )
    grey = theme.text
    if any((~g.points["fitted"] & ~g.points["held_out"]).any() for g in report.groups):
        handles.append(
            Line2D([], [], color=grey, marker="o", linestyle="", fillstyle="none", label="not on the frontier")
        )
    if report.held_out:
        name = f"held out, with {report.spec.level:.0%} prediction"
        handles.append(Line2D([], [], color=grey, marker="*", linestyle="", markersize=10, label=name))
    legend(axes, theme, handles=handles, loc="lower left")
