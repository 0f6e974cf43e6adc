"""The figure of a comparison: each group's error less that of a reference, and its compute multiplier, with bands.

Where both were measured lines are thick and bands filled; beyond, lines are thin and bands hatched: there the laws
speak, not the data. Crossings inside the data are marked on the line of no difference.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mammut_clip.fit.compare.comparisons import Comparisons
from mammut_clip.fit.compare.curves import Curves
from mammut_clip.fit.compare.multiplier import multiplier_band
from mammut_clip.fit.compare.pair import Comparison
from mammut_clip.fit.forms import Array
from mammut_clip.fit.quantiles import middle
from mammut_clip.fit.style import LIGHT, LINES, MARKERS, Theme, dress, legend, slots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARGIN = 10.0
"""The figure shows this factor below and above what the groups were measured at."""
_POINTS = 160
_TOP = 30.0
"""Largest multiplier shown: beyond it, the smaller group has nothing to gain from a longer axis."""


def comparison_figure(comparisons: Comparisons, x_label: str, theme: Theme = LIGHT) -> "Figure":
    """Every group against the reference. Raises ValueError where the reference is in no pair (`against_reference`)."""
    pairs = against_reference(comparisons)
    if not pairs or comparisons.curves is None or comparisons.reference is None:
        raise ValueError("no group was compared with the reference: there is nothing to draw")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 6.4), layout="constrained", facecolor=theme.background)
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    slot = slots(list(comparisons.curves.names))
    for pair in pairs:
        other = pair.second if pair.first == comparisons.reference else pair.first
        _draw(upper, lower, comparisons.curves, pair, other, theme, slot[other])
    _axes(upper, lower, comparisons.reference, x_label, theme)
    return figure


def against_reference(comparisons: Comparisons) -> tuple[Comparison, ...]:
    """The pairs that the figure shows; empty where there is nothing to draw."""
    return tuple(p for p in comparisons if comparisons.reference in (p.first, p.second))


def _draw(upper: "Axes", lower: "Axes", curves: Curves, pair: Comparison, other: str, theme: Theme, slot: int) -> None:
    reference = pair.second if other == pair.first else pair.first
    where = _shown(curves, pair)
    x, color, line = curves.x[where], theme.groups[slot], LINES[slot]
    drawn = curves.draws[other][:, where] - curves.draws[reference][:, where]
    low, high = middle(drawn, pair.level)
    gap = curves.laws[other][where] - curves.laws[reference][where]
    _band(upper, x, gap, low, high, pair, color, line, label=f"{other} less {reference}")
    ratio, low, high = multiplier_band(curves, other, reference, where, pair.level)
    ends = (1.0 / _TOP / 10, _TOP * 10)
    _band(lower, x, np.clip(ratio, *ends), np.clip(low, *ends), np.clip(high, *ends), pair, color, line, label="")
    for crossing in pair.inside:
        for axes, level in ((upper, 0.0), (lower, 1.0)):
            axes.plot(
                [crossing.x],
                [level],
                marker=MARKERS[slot],
                color=color,
                markersize=7,
                markeredgecolor=theme.background,
                zorder=5,
            )


def _shown(curves: Curves, pair: Comparison) -> np.ndarray:
    """Indices of the grid: about _POINTS of them, the ends of the common range among them."""
    low, high = max(pair.start / _MARGIN, curves.x[0]), min(pair.end * _MARGIN, curves.x[-1])
    everything = np.arange(len(curves.x))[curves.between(low, high)]
    thinned = everything[:: max(1, len(everything) // _POINTS)]
    return np.unique(np.concatenate([thinned, [curves.at(pair.start), curves.at(pair.end)]]))


def _band(
    axes: "Axes", x: Array, value: Array, low: Array, high: Array, pair: Comparison, color: str, line: Any, label: str
) -> None:
    edges = [0, int(np.searchsorted(x, pair.start)), int(np.searchsorted(x, pair.end)), len(x) - 1]
    for part, (begin, end) in enumerate(pairwise(edges)):
        if begin == end:
            continue
        piece, inside = slice(begin, end + 1), part == 1
        axes.plot(
            x[piece],
            value[piece],
            color=color,
            linestyle=line,
            linewidth=1.9 if inside else 0.9,
            zorder=3,
            label=label if inside else "",
        )
        style: dict[str, Any] = {"alpha": 0.18, "linewidth": 0} if inside else {"alpha": 0.35, "hatch": "////"}
        filled = color if inside else "none"
        axes.fill_between(x[piece], low[piece], high[piece], facecolor=filled, edgecolor=color, zorder=1, **style)


def _axes(upper: "Axes", lower: "Axes", reference: str, x_label: str, theme: Theme) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    upper.set_xscale("log")
    lower.set_yscale("log")
    upper.set_ylabel(f"error less that of {reference}")
    # The unit of x may be samples: what is needed is a multiple of x, whatever it counts.
    lower.set_ylabel(f"needed for the error of {reference} at x,\nas a multiple of x")
    lower.set_xlabel(x_label)
    for axes, level in ((upper, 0.0), (lower, 1.0)):
        dress(axes, theme)
        axes.axhline(level, color=theme.text, linewidth=0.8, zorder=2)
    lower.yaxis.set_major_locator(LogLocator(base=10.0, subs=(1.0, 2.0, 5.0)))
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    lower.yaxis.set_minor_formatter(NullFormatter())
    low, high = lower.get_ylim()
    lower.set_ylim(max(low, 1.0 / _TOP), min(high, _TOP))
    legend(upper, theme)
