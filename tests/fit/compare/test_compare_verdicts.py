"""Who is ahead where: pairs, and the order of three groups and more."""

import numpy as np
import pytest
from known_laws import SPAN, Known, normal, power

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_compare import CompareConfig
from mammut_clip.fit.compare import compare

COUNT = 2001


def test_one_is_ahead_where_the_interval_of_the_difference_leaves_zero_out() -> None:
    """log of the ratio at x is 0.1 log(x / 1e8) with a spread of 0.05: clear beyond a factor e^(1.96 x 0.5)."""
    one, two = power(0.3, 0.2, normal(COUNT, 0.05, 0)), power(0.3, 0.3, [0.0] * COUNT)
    (pair,) = compare({"one": one, "two": two}, {"one": SPAN, "two": SPAN})
    assert [s.ahead for s in pair.stretches] == ["one", None, "two"]
    assert pair.stretches[1].start == pytest.approx(1e8 / np.exp(0.98), rel=0.15)
    assert pair.stretches[1].end == pytest.approx(1e8 * np.exp(0.98), rel=0.15)
    assert (pair.stretches[0].start, pair.stretches[-1].end) == SPAN
    # An interval of 50% is narrower, and so is the stretch without a verdict.
    (narrow,) = compare({"one": one, "two": two}, {"one": SPAN, "two": SPAN}, 0.5)
    assert narrow.stretches[1].start > pair.stretches[1].start and narrow.stretches[1].end < pair.stretches[1].end


def test_a_lead_over_less_than_a_factor_of_two_is_no_lead() -> None:
    one, two = power(0.3, 0.2), power(0.25, 0.2)
    for span, ahead in (((1e8, 1.9e8), None), ((1e8, 2.1e8), "two")):
        (pair,) = compare({"one": one, "two": two}, {"one": span, "two": (1e6, 1e10)})
        assert [s.ahead for s in pair.stretches] == [ahead]
        assert (pair.start, pair.end) == span


def test_paired_draws_are_subtracted_row_by_row() -> None:
    """Both laws move together by 10%, their ratio never does: the lead is clear. Unpaired draws hide it."""
    scatter = normal(COUNT, 0.1, 3)
    one, two = power(0.30, 0.2, scatter), power(0.31, 0.2, scatter)
    (pair,) = compare({"one": one, "two": two}, {"one": SPAN, "two": SPAN})
    assert [s.ahead for s in pair.stretches] == ["one"]
    assert pair.differences[0].first_lower == 1.0
    (apart,) = compare({"one": one, "two": power(0.31, 0.2, normal(COUNT, 0.1, 4))}, {"one": SPAN, "two": SPAN})
    assert [s.ahead for s in apart.stretches] == [None]


def test_differences_at_the_end_and_where_asked() -> None:
    one, two = power(0.30, 0.2, normal(COUNT, 0.01, 5)), power(0.31, 0.2, [0.0] * COUNT)
    fitted_less = Known(two.law, two.drawn, (1e7, 1e9))
    config = CompareConfig(at=(1e8, 1e12, 1e3))
    (pair,) = compare({"one": one, "two": fitted_less}, {"one": SPAN, "two": SPAN}, 0.95, config)
    assert [d.x for d in pair.differences] == [1e3, 1e8, 1e10, 1e12]
    at_1e8 = pair.differences[1]
    assert (at_1e8.first_error, at_1e8.second_error) == pytest.approx((0.30, 0.31))
    draws = 0.30 * np.exp(normal(COUNT, 0.01, 5)) - 0.31
    assert (at_1e8.lower, at_1e8.upper) == pytest.approx(np.quantile(draws, [0.025, 0.975]))
    assert at_1e8.first_lower == pytest.approx((draws < 0).mean())
    assert [d.extrapolated for d in pair.differences] == [
        pytest.approx({"one": 1e3, "two": 1e4}),
        {},
        pytest.approx({"two": 10.0}),
        pytest.approx({"one": 100.0, "two": 1000.0}),
    ]


def test_order_of_three_groups_changes_where_laws_cross() -> None:
    laws = {
        "steep": power(0.3, 0.3, normal(COUNT, 0.01, 6)),
        "flat": power(0.3, 0.2, normal(COUNT, 0.01, 7)),
        "worst": power(0.9, 0.2, normal(COUNT, 0.01, 8)),
        "twin": power(0.9, 0.2, normal(COUNT, 0.01, 9)),
    }
    found = compare(laws, dict.fromkeys(laws, SPAN))
    assert len(found) == 6
    assert [o.tiers for o in found.orders] == [
        (("flat",), ("steep",), ("worst", "twin")),
        (("steep", "flat"), ("worst", "twin")),
        (("steep",), ("flat",), ("worst", "twin")),
    ]
    # 1.96 x 0.014 of log ratio, at 0.1 per factor e of x.
    ends = [1e8 * np.exp(side * 1.96 * np.sqrt(2) * 0.01 / 0.1) for side in (-1, 1)]
    assert [found.orders[1].start, found.orders[1].end] == pytest.approx(ends, rel=0.08)


def test_a_cut_needs_all_of_the_better_below_all_of_the_worse() -> None:
    """Each of ten groups is below the good one in another 2% of the draws: every pair is clear, the whole is not."""
    count = 500
    laws = {"good": power(0.30, 0.2, [0.0] * count)}
    for k in range(10):
        scatter = np.zeros(count)
        scatter[10 * k : 10 * k + 10] = -0.5
        laws[f"bad{k}"] = power(0.35, 0.2, list(scatter))
    found = compare(laws, dict.fromkeys(laws, SPAN))
    assert all([s.ahead for s in p.stretches] == ["good"] for p in found if p.first == "good")
    assert [len(o.tiers) for o in found.orders] == [1]
    fewer = compare({name: laws[name] for name in ("good", "bad0", "bad1")}, dict.fromkeys(laws, SPAN))
    assert [o.tiers for o in fewer.orders] == [(("good", "bad0", "bad1"),)]


class _NoScatter(Known):
    def draws(self, x: object) -> np.ndarray:
        raise InputError("an interval needs more points than parameters")


def test_what_cannot_be_compared_is_said() -> None:
    one, two, three = power(0.3, 0.2), power(0.31, 0.2), power(0.32, 0.2)
    mute = _NoScatter(one.law, one.drawn)
    found = compare(
        {"one": one, "two": two, "far": three, "mute": mute},
        {"one": SPAN, "two": SPAN, "far": (1e11, 1e12), "mute": SPAN},
    )
    assert [(p.first, p.second) for p in found] == [("one", "two")]
    assert found.orders == ()
    said = "\n".join(found.left_out)
    assert "mute is not compared: an interval needs more points" in said
    assert "one and far are not compared: they were measured from 1e+06 to 1e+10 and from 1e+11 to 1e+12" in said
    with pytest.raises(InputError, match=r"comparison.reference = 'tow': no such group; did you mean two"):
        compare({"one": one, "two": two}, {"one": SPAN, "two": SPAN}, 0.95, CompareConfig(reference="tow"))
    alone = compare({"one": one}, {"one": SPAN})
    assert len(alone) == 0 and alone.sentences("GFLOPs") == []
