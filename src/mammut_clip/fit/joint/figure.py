"""The figure of joint laws: error against samples seen, one curve for each of several model sizes.

Sizes are told apart by a scale of colours whose lightness rises with size, so that it survives greyscale. Curves are
solid where samples were fitted; held-out runs are stars.
"""

from typing import TYPE_CHECKING

import numpy as np

from mammut_clip.fit.joint.run import JointGroup, JointReport
from mammut_clip.fit.joint.tables import SIZES
from mammut_clip.fit.residuals import Array
from mammut_clip.fit.style import LIGHT, Theme, legend, panels, plain_log_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

_CURVES = 6
_BEYOND = 8.0
"""Curves go on to this multiple of the largest number of samples fitted."""


def joint_figure(report: JointReport, theme: Theme = LIGHT) -> "Figure":
    """One panel per group; every point in the colour of its size."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    sizes = np.concatenate([g.grid.size for g in report.groups])
    colours = ScalarMappable(LogNorm(sizes.min(), sizes.max() * 1.3), "cividis")
    figure, row = panels(theme, len(report.groups))
    for panel, group in zip(row, report.groups, strict=True):
        panel.set_xscale("log")
        panel.set_yscale("log")
        _draw_curves(panel, group, colours)
        _draw_points(panel, group, colours, theme)
        panel.set_title(group.name, color=theme.text, fontsize=10)
        panel.set_xlabel("samples seen")
        plain_log_ticks(panel)
    row[0].set_ylabel("error" if report.spec.unit != "error" else "error or loss")
    bar = figure.colorbar(colours, ax=row, pad=0.01)
    bar.set_label(f"model size ({SIZES[report.spec.size]})", color=theme.text)
    bar.ax.tick_params(which="both", colors=theme.text, labelsize=9)
    if report.spec.title:
        figure.suptitle(report.spec.title, color=theme.text, fontsize=11)
    _key(row[0], report, theme)
    return figure


def _draw_curves(axes: "Axes", group: JointGroup, colours: "ScalarMappable") -> None:
    fitted = group.law.samples_range
    samples = np.geomspace(fitted[0], max(fitted[1] * _BEYOND, group.grid.samples.max()), 160)
    inside = samples <= fitted[1] * (1 + 1e-9)
    for size in _shown(group.grid.size):
        colour, error = colours.to_rgba(size), group.law.predict(size, samples)
        axes.plot(samples[inside], error[inside], color=colour, linewidth=1.5, zorder=3)
        axes.plot(samples[~inside], error[~inside], color=colour, linewidth=1.2, linestyle=(0, (4, 2)), zorder=3)


def _draw_points(axes: "Axes", group: JointGroup, colours: "ScalarMappable", theme: Theme) -> None:
    for mask, marker, area in ((group.fitted, "o", 18), (~group.fitted, "*", 90)):
        grid = group.grid.take(mask) if mask.any() else None
        if grid is not None:
            face = colours.to_rgba(grid.size)
            axes.scatter(
                grid.samples, grid.error, s=area, marker=marker, c=face, edgecolors=theme.text, linewidths=0.4, zorder=4
            )


def _shown(sizes: Array) -> Array:
    """At most _CURVES of the sizes, spread evenly in logs, the smallest and largest among them."""
    distinct = np.unique(sizes)
    wanted = np.linspace(np.log(distinct[0]), np.log(distinct[-1]), _CURVES)
    return np.unique(distinct[np.abs(np.log(distinct)[None] - wanted[:, None]).argmin(axis=1)])


def _key(axes: "Axes", report: JointReport, theme: Theme) -> None:
    from matplotlib.lines import Line2D

    grey = theme.text
    handles = [
        Line2D([], [], color=grey, marker="o", markersize=4, label="law and fitted runs"),
        Line2D([], [], color=grey, linestyle=(0, (4, 2)), label="beyond the fitted samples"),
    ]
    if report.held_out:
        handles.append(Line2D([], [], color=grey, marker="*", linestyle="", markersize=9, label="held out"))
    legend(axes, theme, handles=handles, loc="lower left")
