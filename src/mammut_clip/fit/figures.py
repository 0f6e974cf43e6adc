"""The figure of a fit: error against compute, log-log, with the laws, their intervals and what was held out.

The strip below says for each group which stretch of x was fitted, which is held out, and where nothing was measured;
the law's line grows thinner from one to the next.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from mammut_clip.fit.regions import Regions, figure_end, has_interval
from mammut_clip.fit.run import FitReport, GroupFit
from mammut_clip.fit.style import LIGHT, LINES, MARKERS, Theme, legend, plain_log_ticks, slots, with_strip, wrapped

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTHS = (2.1, 1.5, 0.9)
"""Of a law's line where it was fitted, over held-out points, and beyond all points."""


def law_figure(report: FitReport, theme: Theme = LIGHT) -> "Figure":
    """Every group's points, law, intervals and held-out points in one pair of axes."""
    figure, axes, strip = with_strip(theme, len(report.groups))
    axes.set_xscale("log")
    axes.set_yscale("log")
    slot = slots([g.name for g in report.groups])
    reach = figure_end(report)
    for group in report.groups:
        i = slot[group.name]
        _draw_law(axes, group, report, reach, theme.groups[i], i)
        _draw_points(axes, group, theme.groups[i], MARKERS[i], theme.background)
    # Room for every point and prediction; a wide band may leave the picture.
    asked = [answer.predicted for g in report.groups for answer in g.asked]
    shown = [v for g in report.groups for v in g.points["error"]] + [r.predicted for r in report.held_out] + asked
    axes.set_ylim(max(min(shown), 1e-6) / 1.4, max(shown) * 1.25)
    axes.set_xlim(min(float(g.points["x"].min()) for g in report.groups) / 1.5, reach * 1.1)
    axes.set_ylabel(report.y_label)
    if report.spec.title:
        axes.set_title(wrapped(report.spec.title, 68), color=theme.text, fontsize=11)
    plain_log_ticks(axes)
    _draw_strip(strip, report, reach, theme)
    strip.set_xlabel(report.x_label)
    legend(axes, theme, handles=_key(report, theme), loc="lower left")
    return figure


def _draw_law(axes: "Axes", group: GroupFit, report: FitReport, reach: float, color: str, slot: int) -> None:
    regions = Regions.of(group, reach)
    for (start, end), width in zip(regions.stretches(), _WIDTHS, strict=True):
        if end > start:
            x = np.geomspace(start, end, 120)
            axes.plot(x, group.estimate.predict(x), color=color, linestyle=LINES[slot], linewidth=width, zorder=3)
    if not has_interval(group):
        return
    x = np.geomspace(regions.start, reach, 160)
    low, high = group.estimate.predict_interval(x, report.spec.level)
    low = np.maximum(low, group.estimate.predict(x) * 1e-2)  # a log axis has no zero
    axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0, zorder=1)
    for edge in (low, high):  # so that bands that overlap stay apart in grey
        axes.plot(x, edge, color=color, linestyle=LINES[slot], linewidth=0.5, alpha=0.7, zorder=1)
    _draw_asked(axes, group, color, MARKERS[slot])


def _draw_asked(axes: "Axes", group: GroupFit, color: str, marker: str) -> None:
    for a in group.asked:
        ends = [[a.predicted - max(a.lower, a.predicted * 1e-2)], [a.upper - a.predicted]]
        look: dict[str, Any] = {"color": color, "mfc": "none", "ms": 7, "capsize": 4, "lw": 1.2, "zorder": 5}
        axes.errorbar([a.x], [a.predicted], yerr=ends, fmt=marker, **look)


def _draw_points(axes: "Axes", group: GroupFit, color: str, marker: str, background: str) -> None:
    rest = group.points[~group.points["fitted"] & ~group.points["held_out"]]
    used = group.points[group.points["fitted"]]
    open_points: dict[str, Any] = {"facecolors": "none", "edgecolors": color, "alpha": 0.4, "linewidths": 0.8}
    axes.scatter(rest["x"], rest["error"], s=11, marker=marker, zorder=2, **open_points)
    filled: dict[str, Any] = {"color": color, "edgecolors": background, "linewidths": 0.6}
    axes.scatter(used["x"], used["error"], s=32, marker=marker, zorder=4, **filled)
    for r in group.held_out:
        axes.vlines(r.x, max(r.lower, r.predicted * 1e-2), r.upper, color=color, linewidth=1.2, alpha=0.8, zorder=4)
        axes.scatter(r.x, r.measured, s=110, marker="*", zorder=5, **filled)


def _draw_strip(strip: "Axes", report: FitReport, reach: float, theme: Theme) -> None:
    slot = slots([g.name for g in report.groups])
    for row, group in enumerate(report.groups):
        color = theme.groups[slot[group.name]]
        for (start, end), face, hatch in zip(
            Regions.of(group, reach).stretches(), (color, "none", "none"), ("", "//////", ""), strict=True
        ):
            if end > start:
                strip.barh(
                    row,
                    end - start,
                    left=start,
                    height=0.62,
                    facecolor=face,
                    edgecolor=color,
                    hatch=hatch,
                    linewidth=0.8,
                )
    strip.set_yticks(range(len(report.groups)), [g.name for g in report.groups])
    strip.set_ylim(len(report.groups) - 0.4, -0.6)
    strip.tick_params(axis="y", length=0)
    strip.grid(False, axis="y")


def _key(report: FitReport, theme: Theme) -> "list[Artist]":
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    slot, grey = slots([g.name for g in report.groups]), theme.text
    handles: list[Artist] = []
    for g in report.groups:
        i = slot[g.name]
        look: dict[str, Any] = {"color": theme.groups[i], "marker": MARKERS[i], "linestyle": LINES[i], "markersize": 6}
        handles.append(Line2D([], [], label=g.name, **look))
    if any((~g.points["fitted"] & ~g.points["held_out"]).any() for g in report.groups):
        handles.append(
            Line2D([], [], color=grey, marker="o", linestyle="", mfc="none", ms=4, label="not on the frontier")
        )
    level = f"{report.spec.level:.0%}"
    if report.held_out:
        handles.append(
            Line2D([], [], color=grey, marker="*", linestyle="", ms=10, label=f"held out, with {level} prediction")
        )
    if report.spec.ask:
        handles.append(
            Line2D(
                [],
                [],
                color=grey,
                marker="o",
                mfc="none",
                linestyle="",
                ms=7,
                label=f"asked for, with {level} prediction",
            )
        )
    handles.append(Patch(facecolor=grey, alpha=0.2, label=f"{level} prediction interval"))
    stretches = [("fitted", grey, ""), ("held out", "none", "//////"), ("beyond all points", "none", "")]
    held = bool(report.held_out)
    return handles + [
        Patch(facecolor=f, edgecolor=grey, hatch=h, label=n) for n, f, h in stretches if held or n != "held out"
    ]
