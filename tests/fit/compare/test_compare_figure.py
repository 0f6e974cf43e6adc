"""The figure of a comparison: who is in it, what is told apart, and the same bytes each time."""

from pathlib import Path

import numpy as np
import pytest
from known_laws import SPAN, normal, power, shifted

from mammut_clip.config.fit_compare import CompareConfig
from mammut_clip.fit.compare import Comparisons, compare
from mammut_clip.fit.compare.figure import against_reference, comparison_figure
from mammut_clip.fit.style import DARK, save_figure


def three(reference: str | None = None) -> Comparisons:
    laws = {
        "clip": power(0.3, 0.2, normal(300, 0.02, 0)),
        "mammut": power(0.3, 0.3, normal(300, 0.02, 1)),
        "siglip": shifted(0.3, 0.2, floor=0.1, scatter=normal(300, 0.02, 2)),
    }
    return compare(laws, dict.fromkeys(laws, SPAN), 0.95, CompareConfig(reference=reference))


def test_every_other_group_is_shown_against_the_reference() -> None:
    for reference, others in ((None, ["mammut", "siglip"]), ("mammut", ["clip", "siglip"])):
        found = three(reference)
        figure = comparison_figure(found, "compute (GFLOPs)", DARK)
        upper, lower = figure.axes
        named = reference or "clip"
        legend = upper.get_legend()
        assert legend is not None
        labels = [text.get_text() for text in legend.get_texts()]
        assert labels == [f"{other} less {named}" for other in others]
        assert lower.get_xlabel() == "compute (GFLOPs)" and named in upper.get_ylabel()
        assert len(against_reference(found)) == 2


def test_lines_are_the_difference_and_the_multiplier() -> None:
    found = three("clip")
    upper, lower = comparison_figure(found, "x").axes
    inside = next(line for line in upper.lines if line.get_label() == "mammut less clip")
    x, gap = (np.asarray(v, dtype=np.float64) for v in inside.get_data())
    assert gap == pytest.approx(0.3 * ((x / 1e8) ** -0.3 - (x / 1e8) ** -0.2), rel=1e-9)
    assert (x[0], x[-1]) == SPAN
    # mammut has clip's error at x where 0.3 (m x / 1e8)^-0.3 = 0.3 (x / 1e8)^-0.2
    thick = next(line for line in lower.lines if line.get_linewidth() == inside.get_linewidth())
    x, multiple = (np.asarray(v, dtype=np.float64) for v in thick.get_data())
    assert multiple == pytest.approx((x / 1e8) ** (0.2 / 0.3 - 1), rel=1e-3)
    thin = [line for line in upper.lines if line.get_linewidth() < 1 and np.size(line.get_xdata()) > 2]
    assert len(thin) == 4, "each of two groups goes on below and beyond the data"


def test_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_figure(lambda theme: comparison_figure(three(), "x", theme), tmp_path / name)
    for suffix in ("pdf", "png"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_nothing_to_draw_is_known_beforehand() -> None:
    alone = compare({"clip": power(0.3, 0.2)}, {"clip": SPAN})
    assert against_reference(alone) == ()
    with pytest.raises(ValueError, match="nothing to draw"):
        comparison_figure(alone, "x")
