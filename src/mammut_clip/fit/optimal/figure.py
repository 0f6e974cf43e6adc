"""The figure of optimal allocation: samples or model size of least error against compute, a panel for each method.

Optima that a line goes through are filled, those at the edge of the grid hollow; lines are thin beyond the compute
they were made from, and stars are the predictions that the spec asks for.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from mammut_clip.fit.joint.tables import SIZES
from mammut_clip.fit.optimal.line import AllocationLaw, Optima, Target, values_of
from mammut_clip.fit.optimal.run import OptimalGroup, OptimalReport
from mammut_clip.fit.residuals import Array
from mammut_clip.fit.style import LIGHT, LINES, MARKERS, Theme, panels, slots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {"frontier": "runs of the frontier", "isoflop": "isoFLOP minima", "parametric": "joint law"}


def optimal_figure(report: OptimalReport, target: Target, theme: Theme = LIGHT) -> "Figure":
    """Every group's optima and lines of one target."""
    figure, row = panels(theme, len(report.spec.methods), width=3.9)
    slot = slots([g.name for g in report.groups])
    values = np.concatenate([values_of(g.grid, target) for g in report.groups])
    asked = [p.value for p in report.predictions() if p.target == target]
    for axes, method in zip(row, report.spec.methods, strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        for group in report.groups:
            i = slot[group.name]
            law = next((one for one in group.laws if (one.method, one.target) == (method, target)), None)
            if law is not None:
                _draw(axes, group, law, report, theme, (theme.groups[i], MARKERS[i], LINES[i]))
        axes.set_ylim(min([values.min(), *asked]) / 1.6, max([values.max(), *asked]) * 1.6)
        axes.set_xlabel("compute (GFLOPs)")
        axes.set_title(_TITLES[method], color=theme.text, fontsize=10)
    row[0].set_ylabel("optimal samples seen" if target == "samples" else f"optimal size ({SIZES[report.spec.size]})")
    if report.spec.title:
        figure.suptitle(report.spec.title, color=theme.text, fontsize=11)
    _key(figure, report, slot, theme)
    return figure


def _draw(
    axes: "Axes",
    group: OptimalGroup,
    law: AllocationLaw,
    report: OptimalReport,
    theme: Theme,
    look: tuple[str, str, Any],
) -> None:
    colour, marker, line = look
    ends = (group.grid.compute.min(), max([group.grid.compute.max() * 1.6, *report.spec.ask]))
    x = np.geomspace(*ends, 200)
    inside = (x >= law.compute_range[0] * (1 - 1e-9)) & (x <= law.compute_range[1] * (1 + 1e-9))
    y = law.predict(x)
    for part, width in ((inside, 2.0), (~inside, 0.9)):
        axes.plot(x, np.where(part, y, np.nan), color=colour, linestyle=line, linewidth=width, zorder=3)
    low, high = law.interval(x, report.spec.level)
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0, zorder=1)
    asked = np.array(report.spec.ask)
    axes.scatter(asked, law.predict(asked), s=90, marker="*", color=colour, edgecolors=theme.background, zorder=5)
    if law.optima is not None:
        _draw_optima(axes, law.optima, values_of(group.grid, law.target), colour, marker)


def _draw_optima(axes: "Axes", optima: Optima, measured: Array, colour: str, marker: str) -> None:
    # A parabola's minimum far outside the grid is no measurement.
    shown = (optima.value >= measured.min() * 0.999) & (optima.value <= measured.max() * 1.001)
    for used, face in ((True, colour), (False, "none")):
        mask = (optima.used == used) & shown
        axes.scatter(
            optima.compute[mask],
            optima.value[mask],
            s=26,
            marker=marker,
            facecolors=face,
            edgecolors=colour,
            linewidths=0.9,
            zorder=4,
        )


def _key(figure: "Figure", report: OptimalReport, slot: dict[str, int], theme: Theme) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=theme.groups[i], marker=MARKERS[i], linestyle=LINES[i], markersize=6, label=name)
        for name, i in slot.items()
    ]
    grey = theme.text
    if any(law.optima is not None and not law.optima.used.all() for g in report.groups for law in g.laws):
        label = "at the edge of the grid, left out"
        handles.append(Line2D([], [], color=grey, marker="o", linestyle="", fillstyle="none", label=label))
    if report.spec.ask:
        handles.append(Line2D([], [], color=grey, marker="*", linestyle="", markersize=9, label="asked"))
    box = figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    for text in box.get_texts():
        text.set_color(theme.text)
