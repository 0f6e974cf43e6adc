"""The points at which checkpoints stay by default."""

from itertools import pairwise

from mammut_clip.config.quantity import parse_quantity
from mammut_clip.config.scales import SCALES, SCALES_AND_BETWEEN

PAPER = ["1.28M", "3.07M", "6.4M", "12.8M", "30.7M", "64M", "128M", "307M", "640M", "1.28B", "3.07B", "12.8B"]


def test_the_papers_scales_are_there_from_the_smallest_on() -> None:
    assert {parse_quantity(text) for text in PAPER} <= set(SCALES)
    assert SCALES[0] == 1_280_000


def test_points_lie_evenly_on_a_logarithmic_axis() -> None:
    assert set(SCALES) < set(SCALES_AND_BETWEEN)
    ratios = [after / before for before, after in pairwise(SCALES_AND_BETWEEN)]
    assert all(1.4 < ratio < 1.6 for ratio in ratios)
