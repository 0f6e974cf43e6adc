"""One data set in epochs: each sample once, lanes that read stretches of shards, windows that are staggered."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from order_reference import in_epochs

from mammut_clip.config.data import ShuffleConfig
from mammut_clip.data.order.lanes import CompleteOrder, LaneOrder
from mammut_clip.data.order.mixing import permutation
from mammut_clip.data.order.streams import SHARDS
from mammut_clip.data.order.windows import Drawn

some_counts = st.lists(st.integers(0, 12), min_size=1, max_size=9).filter(any)
few = st.integers(1, 7)


def order_of(counts: list[int], seed: int, dataset: int, lanes: int, window: int) -> LaneOrder | CompleteOrder:
    if sum(counts) <= lanes * window:
        return CompleteOrder(np.array(counts), seed, dataset)
    return LaneOrder(np.array(counts), seed, dataset, ShuffleConfig(lanes=lanes, window=window))


def as_tuples(drawn: Drawn) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in drawn), strict=True))


@settings(max_examples=60, deadline=None)
@given(some_counts, st.integers(0, 2**64 - 1), st.integers(0, 3), few, few)
def test_every_sample_comes_once_per_epoch(counts: list[int], seed: int, dataset: int, lanes: int, window: int) -> None:
    order = order_of(counts, seed, dataset, lanes, window)
    every = [(shard, sample) for shard, count in enumerate(counts) for sample in range(count)]
    for epoch in range(3):
        drawn = order.draw(np.arange(epoch * len(every), (epoch + 1) * len(every)))
        assert sorted((shard, sample) for shard, sample, _ in as_tuples(drawn)) == every


@settings(max_examples=80, deadline=None)
@given(some_counts, st.integers(0, 2**40), st.integers(0, 3), few, few, st.data())
def test_equals_the_reference_in_any_order(
    counts: list[int], seed: int, dataset: int, lanes: int, window: int, data: st.DataObject
) -> None:
    expected = in_epochs(counts, seed, dataset, lanes, window, 3 * sum(counts))
    order = order_of(counts, seed, dataset, lanes, window)
    some = st.lists(st.integers(0, len(expected) - 1), min_size=1, max_size=40)
    for asked in (list(range(len(expected))), data.draw(some), data.draw(some)):
        assert as_tuples(order.draw(np.array(asked))) == [expected[i] for i in asked]


def test_a_lane_reads_a_stretch_of_the_epoch_from_front_to_back_in_windows() -> None:
    counts = np.arange(1, 60)
    total, lanes, window = int(counts.sum()), 8, 16
    order = LaneOrder(counts, 3, 0, ShuffleConfig(lanes=lanes, window=window))
    for epoch in (0, 5):
        # Places of samples in the epoch's sequence: shards in their random order, end to end.
        shards = permutation(len(counts), 3, SHARDS, 0, epoch)
        starts = np.empty_like(counts)
        starts[shards] = np.cumsum(counts[shards]) - counts[shards]
        index = np.arange(epoch * total, (epoch + 1) * total)
        drawn = order.draw(index)
        place = starts[drawn.shard] + drawn.sample
        for lane in range(lanes):
            mine = index % lanes == lane
            assert np.array_equal(np.sort(place[mine]), np.arange(place[mine].min(), place[mine].max() + 1))
            windows, first, sizes = np.unique(drawn.window[mine], return_index=True, return_counts=True)
            assert np.array_equal(first, np.cumsum(sizes) - sizes)  # one after another
            assert np.array_equal(windows, index[mine][first])  # named by their first index
            assert set(sizes[1:-1].tolist()) == {window}
            assert max(sizes) <= window
            held = [place[mine][drawn.window[mine] == name] for name in windows]
            assert all(np.ptp(places) + 1 == len(places) for places in held)  # consecutive
            assert all(np.any(np.diff(places) != 1) for places in held if len(places) > 4)  # shuffled
            assert all(a.max() < b.min() for a, b in pairwise(held))


def test_lanes_enter_new_windows_at_different_times() -> None:
    lanes, window = 256, 32
    order = LaneOrder(np.full(100, 1000), 0, 0, ShuffleConfig(lanes=lanes, window=window))
    index = np.arange(256 * 64)
    drawn = order.draw(index)
    rows_of_starts = index[np.unique(drawn.window, return_index=True)[1]] // lanes
    per_row = np.bincount(rows_of_starts, minlength=64)[1:]
    # 256 lanes, each at a random one of 32 rows: 8 a row, with a standard deviation of 2.8.
    assert per_row.max() < 8 + 6 * 2.8
    assert abs(per_row.mean() - 8) < 1


def test_neighbouring_lanes_read_far_apart_places_that_change_with_the_epoch() -> None:
    counts = np.full(64, 1000)  # 64 lanes of 1,000: their segments are the shards
    order = LaneOrder(counts, 0, 0, ShuffleConfig(lanes=64, window=100))
    first, second = (order.draw(np.arange(64) + epoch * 64_000).shard for epoch in (0, 1))
    assert len(set(first.tolist())) == len(set(second.tolist())) == 64
    assert (first == second).sum() < 10
    in_sequence = np.argsort(permutation(64, 0, SHARDS, 0, 0))[first]
    assert (np.abs(np.diff(in_sequence)) == 1).sum() < 12
