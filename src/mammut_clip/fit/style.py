"""How figures look: one colour, marker and line style per group, told apart in greyscale and by the
colour-blind.

Figures are drawn without pyplot: no state, no display.
"""

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammut_clip.config.atomic import write_bytes

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


# Six colours that eyes of every kind tell apart; the first two, which most figures are of, in grey too. Groups beyond
# six repeat them with markers and dashes of their own.
_ON_LIGHT = ("#005a8f", "#d55e00", "#2f9e6e", "#c77cae", "#5c4a00", "#222222")
_ON_DARK = ("#3f9bd6", "#ffb37a", "#5fd1ab", "#cc79a7", "#b39a00", "#ffffff")
LIGHT = Theme("#1f2328", "#d8dbe0", "#ffffff", _ON_LIGHT * 2)
DARK = Theme("#e6e8eb", "#3a3f47", "#16191d", _ON_DARK * 2)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d")
_DASHES = ((5, 2), (1, 1.5), (5, 2, 1, 2), (8, 3), (3, 1, 1, 1), (2, 2), (1, 3), (10, 2, 2, 2), (5, 2, 1, 2, 1, 2))
LINES: tuple[Any, ...] = ("-", *((0, dashes) for dashes in _DASHES), (0, (12, 4)), (0, (2, 1, 2, 4)))
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


def panels(
    theme: Theme, columns: int, width: float = 4.8, height: float = 4.2, *, one_scale: bool = True
) -> "tuple[Figure, list[Axes]]":
    """Axes side by side, each of this size in inches (a single one wider), with one scale of y or their own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(7.2, width * columns), height), layout="constrained", facecolor=theme.background)
    FigureCanvasAgg(figure)
    row = list(figure.subplots(1, columns, squeeze=False, sharey=one_scale)[0])
    for axes in row:
        dress(axes, theme)
    return figure, row


def with_strip(theme: Theme, rows: int, width: float = 7.2, height: float = 5.0) -> "tuple[Figure, Axes, Axes]":
    """A figure, its axes, and below them a strip of this many rows on the same x axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor=theme.background)
    FigureCanvasAgg(figure)
    heights = [1.0, 0.045 * rows]
    axes, strip = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": heights})
    for one in (axes, strip):
        dress(one, theme)
    return figure, axes, strip


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
    box = axes.legend(**({"frameon": False, "fontsize": 9} | options))
    for text in box.get_texts():
        text.set_color(theme.text)


def wrapped(title: str, width: int) -> str:
    """A title in lines of at most this many characters."""
    return "\n".join(textwrap.wrap(title, width))


def plain_log_ticks(axes: "Axes") -> None:
    """Tick a log y axis at 1, 2, 3, 5 of each decade, in plain decimals: errors span less than two
    decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(base=10.0, subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def save_figure(draw: "Callable[[Theme], Figure]", stem: Path) -> tuple[Path, Path]:
    """Write a figure as stem.pdf and stem.png, on a light page; no date goes in, so that the same figure gives the
    same bytes."""
    figure = draw(LIGHT)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # its places are found: once is enough for both files
    pdf, png = stem.with_name(stem.name + ".pdf"), stem.with_name(stem.name + ".png")
    for path, options in (
        (pdf, {"metadata": {"CreationDate": None}}),
        (png, {"metadata": {"Software": None}, "dpi": 160}),
    ):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix[1:], **options)
        write_bytes(path, buffer.getvalue())
    return pdf, png
