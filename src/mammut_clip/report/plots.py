"""The pictures of a report, each drawn for a light and a dark page, as SVG text."""

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mammut_clip.fit.figures import law_figure
from mammut_clip.fit.run import FitReport
from mammut_clip.fit.style import DARK, LIGHT, MARKERS, Theme, legend, panels, plain_log_ticks
from mammut_clip.report.data import LossCurve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 120
_HEIGHT = 3.9
"""Of a panel, in inches."""


def both_themes(draw: object, *arguments: object) -> tuple[bytes, bytes]:
    """SVG of draw(*arguments, theme) for the light and the dark page."""
    assert callable(draw)
    return _svg(draw(*arguments, LIGHT)), _svg(draw(*arguments, DARK))


def law_plot(report: FitReport, theme: Theme) -> "Figure":
    """Error against compute with the laws; the page has the title."""
    return law_figure(replace(report, spec=report.spec.model_copy(update={"title": ""})), theme)


def loss_plot(curves: tuple[LossCurve, ...], order: list[str], theme: Theme) -> "Figure":
    """Training loss against samples seen, one panel per family, coloured by scale. order: models, smallest
    first."""
    families = sorted({c.family for c in curves})
    figure, row = panels(theme, len(families), height=_HEIGHT, one_scale=False)
    for axes, family in zip(row, families, strict=True):
        mine = [c for c in curves if c.family == family]
        models = [m for m in order if any(c.model == m for c in mine)]
        shade = dict(zip(models, _shades(len(models), theme), strict=True))
        # Long runs first, so that short ones stay visible where their curves run together.
        for curve in sorted(mine, key=lambda c: -float(c.samples.max(initial=0.0))):
            x, y = binned(curve.samples, curve.loss)
            axes.plot(x, y, color=shade[curve.model], linewidth=1.1, alpha=0.9)
        for model in models:
            axes.plot([], [], color=shade[model], linewidth=2, label=model)
        axes.set_xscale("log")
        axes.set_title(family, color=theme.text, fontsize=11)
        axes.set_xlabel("samples seen")
        legend(axes, theme)
    row[0].set_ylabel("training loss")
    return figure


def samples_plot(report: FitReport, order: list[str], theme: Theme) -> "Figure":
    """Error against samples seen, one panel per group and one line per model scale (its best run at each
    budget)."""
    figure, row = panels(theme, len(report.groups), height=_HEIGHT)
    for axes, group in zip(row, report.groups, strict=True):
        best = group.points.groupby(["model", "samples_seen"])["error"].min().reset_index()
        models = [m for m in order if m in set(best["model"])]
        for i, (model, color) in enumerate(zip(models, _shades(len(models), theme), strict=True)):
            line = best[best["model"] == model].sort_values("samples_seen")
            marker = MARKERS[i % len(MARKERS)]
            axes.plot(
                line["samples_seen"],
                line["error"],
                color=color,
                marker=marker,
                markersize=5,
                linewidth=1.5,
                label=model,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        plain_log_ticks(axes)
        axes.set_title(group.name, color=theme.text, fontsize=11)
        axes.set_xlabel("samples seen")
        legend(axes, theme)
    row[0].set_ylabel(report.y_label)
    return figure


def binned(samples: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over at most 120 geometric bins of samples seen: single steps are noise, and hundreds of runs
    must fit a page."""
    keep = np.isfinite(loss) & (samples > 0)
    x, y = np.asarray(samples[keep], dtype=np.float64), np.asarray(loss[keep], dtype=np.float64)
    if not x.size:
        return x, y
    span = max(np.log(x.max() / x.min()), 1e-12)
    index = np.minimum((np.log(x / x.min()) / span * _BINS).astype(int), _BINS - 1)
    means = pd.DataFrame({"bin": index, "x": x, "y": y}).groupby("bin").mean()
    return means["x"].to_numpy(), means["y"].to_numpy()


def _shades(count: int, theme: Theme) -> list:
    """Colours from small to large scale, even in lightness, away from the page's own."""
    from matplotlib import colormaps

    low, high = (0.85, 0.05) if theme is LIGHT else (0.25, 0.98)
    return [colormaps["viridis"](v) for v in np.linspace(low, high, max(count, 1))]


def _svg(figure: "Figure") -> bytes:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    # A fixed salt and no date: the same data give the same page.
    with rc_context({"svg.hashsalt": "mammut-clip"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
