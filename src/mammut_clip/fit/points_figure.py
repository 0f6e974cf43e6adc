"""All points of a fit, a panel for each group: which model each is, and how many samples it has seen.

Colour runs with samples seen, from dark to light in grey as well; the shape is the model; points that the law was
fitted to have an outline. The stretches beyond the fit are hatched.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mammut_clip.fit.regions import Regions, figure_end, has_interval
from mammut_clip.fit.run import FitReport, GroupFit
from mammut_clip.fit.style import LIGHT, Theme, legend, panels, plain_log_ticks, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, LogNorm
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", (4, 1, 0), (4, 1, 45), (7, 1, 0))
_LIGHTEST = 0.9
"""Of the colour map: its very end is too light for a white page."""


def has_points_figure(report: FitReport) -> bool:
    """Whether the table says of each point which model it is and how many samples it has seen."""
    return all({"model", "samples_seen"} <= set(g.points.columns) for g in report.groups)


def points_figure(report: FitReport, theme: Theme = LIGHT) -> "Figure":
    """Error against compute of every point, told apart by model and samples, with each group's law."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    figure, row = panels(theme, len(report.groups))
    samples = pd.concat([g.points["samples_seen"] for g in report.groups])
    norm = LogNorm(float(samples.min()), max(float(samples.max()), float(samples.min()) * 1.01))
    reach, looks = figure_end(report), shapes([g.points for g in report.groups])
    for axes, group in zip(row, report.groups, strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        _draw_regions(axes, group, reach, theme)
        models = _draw_models(axes, group.points, looks, norm, theme)
        _draw_law(axes, group, report, reach, theme)
        axes.set_title(group.name, color=theme.text, fontsize=11)
        axes.set_xlabel(report.x_label)
        legend(axes, theme, handles=models, loc="lower left", fontsize=7, ncols=2, handletextpad=0.2, columnspacing=0.8)
    errors = pd.concat([g.points["error"] for g in report.groups])
    for axes in row:
        axes.set_xlim(min(float(g.points["x"].min()) for g in report.groups) / 1.8, reach * 1.1)
    row[0].set_ylim(max(float(errors.min()), 1e-6) / 1.8, float(errors.max()) * 1.15)
    row[0].set_ylabel(report.y_label)
    plain_log_ticks(row[0])
    bar = figure.colorbar(ScalarMappable(norm, sample_colors()), ax=row, pad=0.01)
    bar.set_label("samples seen", color=theme.text)
    bar.ax.tick_params(which="both", colors=theme.text, labelsize=9)
    if report.spec.title:
        figure.suptitle(wrapped(report.spec.title, 110), color=theme.text, fontsize=11)
    return figure


def shapes(groups: Sequence[pd.DataFrame]) -> dict[str, tuple[Any, bool]]:
    """Model -> marker and whether it is filled; models by compute (or samples) of one sample, the smallest first.

    A model has one marker in all groups; groups that share no model each begin with the first marker.
    """
    found: dict[str, tuple[Any, bool]] = {}
    shared = any({*map(str, a["model"])} & {*map(str, b["model"])} for a, b in combinations(groups, 2))
    for points in [pd.concat(groups)] if shared else groups:
        sizes = (points["x"] / points["samples_seen"]).groupby(points["model"].astype(str)).median()
        for i, model in enumerate(sizes.rename("size").reset_index().sort_values(["size", "model"])["model"]):
            found[model] = (_SHAPES[i % len(_SHAPES)], i // len(_SHAPES) % 2 == 0)
    return found


def _draw_models(
    axes: "Axes", points: pd.DataFrame, looks: dict[str, tuple[Any, bool]], norm: "LogNorm", theme: Theme
) -> "list[Line2D]":
    """Draw the points; the handles of their legend."""
    from matplotlib.lines import Line2D

    handles = []
    fitted, held = points["fitted"], points["held_out"]
    models = points["model"].astype(str)
    for model, (marker, filled) in looks.items():
        mine = models == model
        if not mine.any():
            continue
        for mask, size, alpha, outline in (
            (mine & ~fitted & ~held, 13.0, 0.5, 0.0),
            (mine & held, 28.0, 1.0, 0.4),
            (mine & fitted, 38.0, 1.0, 1.0),
        ):
            some = points[mask]
            color = sample_colors()(norm(some["samples_seen"].to_numpy(dtype=np.float64)))
            look: dict[str, Any] = {"facecolors": color, "edgecolors": theme.text, "linewidths": outline}
            if not filled:
                look = {"facecolors": "none", "edgecolors": color, "linewidths": 0.8 + outline}
            axes.scatter(some["x"], some["error"], s=size, marker=marker, alpha=alpha, zorder=2, **look)
        face = theme.text if filled else "none"
        handles.append(Line2D([], [], color=theme.text, marker=marker, linestyle="", ms=4, mfc=face, label=model))
    return handles


def _draw_law(axes: "Axes", group: GroupFit, report: FitReport, reach: float, theme: Theme) -> None:
    regions = Regions.of(group, reach)
    x = np.geomspace(regions.start, reach, 160)
    axes.plot(x, group.estimate.predict(x), color=theme.text, linewidth=1.2, zorder=3)
    if has_interval(group):
        low, high = group.estimate.predict_interval(x, report.spec.level)
        axes.fill_between(x, np.maximum(low, 1e-6), high, color=theme.text, alpha=0.1, linewidth=0, zorder=1)


def _draw_regions(axes: "Axes", group: GroupFit, reach: float, theme: Theme) -> None:
    """Hatch what the fit did not see, and say which is which."""
    _, *beyond = Regions.of(group, reach).stretches()
    looks: tuple[dict[str, Any], ...] = ({"facecolor": "none", "hatch": "//"}, {"facecolor": theme.grid, "alpha": 0.45})
    for (start, end), look, words, top in zip(beyond, looks, ("held out", "beyond"), (0.99, 0.95), strict=True):
        if end > start:
            axes.axvspan(start, end, edgecolor=theme.grid, linewidth=0, zorder=0, **look)
            place: dict[str, Any] = {"ha": "center", "va": "top", "transform": axes.get_xaxis_transform()}
            axes.text((start * end) ** 0.5, top, words, color=theme.text, fontsize=7, **place)


def sample_colors() -> "Colormap":
    """Of samples seen, on a log scale: cividis (Nunez et al. 2018), even in lightness, the same to the colour-blind."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["cividis"](np.linspace(0.0, _LIGHTEST, 256)))
