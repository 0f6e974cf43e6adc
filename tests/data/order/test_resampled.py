"""One data set with replacement: stretches at random places, every sample equally likely."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_reference import resampled

from mammut_clip.config.data import ShuffleConfig
from mammut_clip.data.order.resampled import ResampledDraws, ResampledLanes

some_counts = st.lists(st.integers(0, 12), min_size=1, max_size=9).filter(any)
few = st.integers(1, 7)


def order_of(counts: list[int], seed: int, dataset: int, lanes: int, window: int) -> ResampledLanes | ResampledDraws:
    if sum(counts) <= lanes * window:
        return ResampledDraws(np.array(counts), seed, dataset)
    return ResampledLanes(np.array(counts), seed, dataset, ShuffleConfig(lanes=lanes, window=window))


@settings(max_examples=80, deadline=None)
@given(some_counts, st.integers(0, 2**64 - 1), st.integers(0, 3), few, few, st.data())
def test_equals_the_reference_in_any_order(
    counts: list[int], seed: int, dataset: int, lanes: int, window: int, data: st.DataObject
) -> None:
    expected = resampled(counts, seed, dataset, lanes, window, 3 * sum(counts))
    order = order_of(counts, seed, dataset, lanes, window)
    some = st.lists(st.integers(0, len(expected) - 1), min_size=1, max_size=40)
    for asked in (list(range(len(expected))), data.draw(some), data.draw(some)):
        drawn = order.draw(np.array(asked))
        found = list(zip(*(column.tolist() for column in drawn), strict=True))
        assert found == [expected[i] for i in asked]


@pytest.mark.parametrize("lanes", [4, 64])  # stretches, and single draws
def test_every_sample_is_equally_likely(lanes: int) -> None:
    counts = np.array([3, 40, 0, 17, 1, 39])
    order = order_of(counts.tolist(), 1, 0, lanes, 8)
    drawn = order.draw(np.arange(100_000))
    times = np.bincount(np.cumsum([0, *counts[:-1]])[drawn.shard] + drawn.sample, minlength=100)
    # A sample's draws are nearly Poisson, with a mean of 1,000: six standard deviations.
    assert len(times) == 100
    assert np.abs(times - 1000).max() < 6 * 1000**0.5
    if lanes == 64:
        assert times.std() > 10  # drawn, not dealt


def test_lanes_begin_stretches_at_different_times() -> None:
    order = ResampledLanes(np.full(20, 1000), 0, 0, ShuffleConfig(lanes=64, window=1000))
    index = np.arange(64 * 1000)
    drawn = order.draw(index)
    rows = np.unique(drawn.window[drawn.window >= 64]) // 64
    assert len(rows) == 64  # each lane begins one stretch in 1,000 rows
    assert len(np.unique(rows)) > 48


def test_a_window_is_consecutive_in_shards_and_goes_round_at_the_end() -> None:
    counts = np.array([5, 0, 30, 25])
    order = ResampledLanes(counts, 2, 0, ShuffleConfig(lanes=2, window=6))
    drawn = order.draw(np.arange(3000))
    place = np.cumsum([0, *counts[:-1]])[drawn.shard] + drawn.sample
    went_round = 0
    for name in np.unique(drawn.window)[2:-2]:  # the first and the last of each lane are cut
        places = set(place[drawn.window == name].tolist())
        assert any(places == {(start + k) % 60 for k in range(len(places))} for start in places)
        assert len(places) == (drawn.window == name).sum()
        went_round += {59, 0} <= places
    assert went_round > 0
