"""How figures look: one colour, marker and line style per group, told apart in greyscale and by the
colour-blind.

Colours are Okabe and Ito's, lightened for the dark theme. Figures are drawn without pyplot: no state, no
display.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Theme:
    """Colours of the page a figure stands on."""

    text: str
    grid: str
    background: str
    groups: tuple[str, ...]


LIGHT = Theme("#1f2328", "#d8dbe0", "#ffffff", ("#0072B2", "#D55E00", "#007a5a", "#a8558a", "#8a6d00", "#444444"))
DARK = Theme("#e6e8eb", "#3a3f47", "#16191d", ("#56B4E9", "#ff9a4d", "#3fc79a", "#e39ac6", "#f0e442", "#bbbbbb"))
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 3)), (0, (3, 1, 1, 1)))
_KNOWN = ("clip", "mammut", "siglip", "coca", "cap")


def slots(groups: Sequence[str]) -> dict[str, int]:
    """Group -> index of its colour, marker and line. Families keep theirs in every figure; others take what
    is free."""
    taken = {g: _KNOWN.index(g) for g in groups if g in _KNOWN}
    free = [i for i in range(len(MARKERS)) if i not in taken.values()] or [0]
    others = [g for g in groups if g not in taken]
    return taken | {g: free[i % len(free)] for i, g in enumerate(others)}


def new_figure(theme: Theme, width: float = 7.2, height: float = 4.6) -> "tuple[Figure, Axes]":
    """An empty figure (inches) with one set of axes in the theme's colours."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    dress(axes, theme)
    figure.patch.set_facecolor(theme.background)
    return figure, axes


def dress(axes: "Axes", theme: Theme) -> None:
    """Give axes the theme's colours and a light grid."""
    axes.set_facecolor(theme.background)
    axes.tick_params(which="both", colors=theme.text, labelsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(theme.text)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(theme.grid)
    axes.grid(True, which="major", color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)


def legend(axes: "Axes", theme: Theme, **options: Any) -> None:
    """A legend in the theme's colours."""
    box = axes.legend(frameon=False, fontsize=9, **options)
    for text in box.get_texts():
        text.set_color(theme.text)


def plain_log_ticks(axes: "Axes") -> None:
    """Tick a log y axis at 1, 2, 3, 5 of each decade, in plain decimals: errors span less than two
    decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(base=10.0, subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
