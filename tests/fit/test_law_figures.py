"""The figures of laws: what is told apart, in grey and by the colour-blind too, and what is drawn where."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from made_up_sweep import made_up_law, made_up_results
from matplotlib.colors import to_hex

from mammut_clip.fit import FitReport, run_spec
from mammut_clip.fit.figures import law_figure
from mammut_clip.fit.points_figure import has_points_figure, points_figure, sample_colors, shapes
from mammut_clip.fit.regions import Regions, figure_end
from mammut_clip.fit.style import DARK, LIGHT, LINES, MARKERS, Theme, slots

BINS = {"method": "bins", "bin_factor": 4}
# Machado et al. 2009, full dichromacy, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def linear(color: str) -> np.ndarray:
    """sRGB as linear light."""
    v = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear light, white D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.fixture(scope="module")
def report() -> FitReport:
    return run_spec(made_up_law(frontier=BINS, held_out={"largest": 2}, ask=[5e6]), made_up_results())


def test_groups_differ_in_more_than_colour() -> None:
    assert len(set(MARKERS)) == len(MARKERS) and len({str(line) for line in LINES}) == len(LINES)
    assert len(LINES) == len(MARKERS) == len(LIGHT.groups) == len(DARK.groups)
    assert slots(["mammut", "here", "clip"]) == {"mammut": 1, "clip": 0, "here": 2}
    many = slots([f"group {i}" for i in range(12)])
    assert sorted(many.values()) == list(range(12))


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_two_families_differ_in_grey(theme: Theme) -> None:
    clip, mammut = (lab(linear(c))[0] for c in theme.groups[:2])
    assert abs(clip - mammut) >= 15


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_differ_for_eyes_of_every_kind(theme: Theme, sight: str) -> None:
    """2.3 is a difference that is just noticed (CIE 1976), 15 is seen at a glance. All stand out from the page."""
    seen = [lab(np.asarray(SIGHT[sight]) @ linear(c)) for c in theme.groups[:6]]
    for (i, one), (j, two) in combinations(enumerate(seen), 2):
        assert np.linalg.norm(one - two) >= 15, (theme.groups[i], theme.groups[j])
    page = lab(linear(theme.background))
    assert all(abs(color[0] - page[0]) >= 35 for color in seen)


@pytest.mark.parametrize("sight", SIGHT)
def test_more_samples_are_lighter_for_every_eye(sight: str) -> None:
    shades = [lab(np.asarray(SIGHT[sight]) @ linear(to_hex(sample_colors()(v))))[0] for v in np.linspace(0, 1, 40)]
    assert all(one < two for one, two in pairwise(shades))
    assert shades[-1] <= 85  # still seen on a white page


def test_regions_follow_the_held_out_points(report: FitReport) -> None:
    reach = figure_end(report)
    assert reach > 5e6
    for group in report.groups:
        fitted, held, beyond = Regions.of(group, reach).stretches()
        x = np.sort(group.points["x"].unique())
        assert fitted[1] == held[0] == group.law.fit.x.max() < x[-2]
        assert held[1] == beyond[0] == x[-1] and beyond[1] == reach
    bare = run_spec(made_up_law(frontier=BINS), made_up_results())
    assert all(Regions.of(g, 1e9).stretches()[1] == (s, s) for g in bare.groups for s in [g.estimate.x_range[1]])


def test_the_law_figure_shows_all_of_a_report(report: FitReport) -> None:
    axes, strip = law_figure(report).axes
    assert axes.get_xscale() == axes.get_yscale() == strip.get_xscale() == "log"
    assert axes.get_ylabel() == "error (toy_pairs acc1)" and "GFLOPs, paper" in strip.get_xlabel()
    legend = [t.get_text() for t in axes.get_legend().get_texts()]
    assert {"clip", "mammut", "not on the frontier", "fitted", "held out", "beyond all points"} <= set(legend)
    # Per group a law in three widths over three stretches that meet.
    clip = [line for line in axes.get_lines() if line.get_color() == LIGHT.groups[0] and line.get_zorder() == 3]
    widths = [line.get_linewidth() for line in clip]
    assert len(clip) == 3 and widths == sorted(widths, reverse=True) and len(set(widths)) == 3
    for one, two in pairwise(clip):
        assert one.get_xdata()[-1] == pytest.approx(two.get_xdata()[0])
    bars = strip.patches
    assert len(bars) == 6 and sum(bool(b.get_hatch()) for b in bars) == 2
    assert [t.get_text() for t in strip.get_yticklabels()] == ["clip", "mammut"]
    low, high = axes.get_ylim()
    errors = np.concatenate([g.points["error"] for g in report.groups])
    assert low < errors.min() and high > errors.max()


def test_a_law_without_spare_points_has_no_band() -> None:
    bare = run_spec(
        made_up_law(frontier=BINS, form="power", filters=[{"column": "samples_seen", "one_of": [4000, 1024000]}]),
        made_up_results(),
    )
    groups = [g for g in bare.groups if g.law.fit.degrees_of_freedom < 1]
    axes = law_figure(bare).axes[0]
    assert len(axes.collections) > 0
    bands = sum(type(c).__name__ in {"PolyCollection", "FillBetweenPolyCollection"} for c in axes.collections)
    assert bands == len(bare.groups) - len(groups)


def test_points_are_told_apart_by_model_and_samples(report: FitReport) -> None:
    figure = points_figure(report)
    *panels, bar = figure.axes
    assert [p.get_title() for p in panels] == ["clip", "mammut"] and bar.get_ylabel() == "samples seen"
    for axes, group in zip(panels, report.groups, strict=True):
        names = [t.get_text() for t in axes.get_legend().get_texts()]
        assert names == [f"{group.name}_S", f"{group.name}_M", f"{group.name}_L"]  # by size
        words = {t.get_text() for t in axes.texts}
        assert words == {"held out", "beyond"}
    drawn = sum(len(c.get_offsets()) for p in panels for c in p.collections if type(c).__name__ == "PathCollection")
    assert drawn == sum(len(g.points) for g in report.groups)


def test_a_model_has_one_shape_in_all_groups(report: FitReport) -> None:
    frames = [g.points for g in report.groups]
    apart = shapes(frames)
    assert len(apart) == 6 and apart["clip_S"] == apart["mammut_S"] != apart["clip_M"]
    together = shapes([f.assign(model=f["model"].str.split("_").str[1]) for f in frames])
    assert set(together) == {"S", "M", "L"} and len(set(map(str, together.values()))) == 3
    many = frames[0].iloc[[0] * 32].assign(model=[f"m{i:02d}" for i in range(32)])
    assert len({str(v) for v in shapes([many]).values()}) == 32


def test_tables_without_models_have_no_figure_of_them() -> None:
    bare = run_spec(made_up_law(frontier=BINS, checkpoints="final"), made_up_results().drop(columns="model"))
    assert not has_points_figure(bare)
