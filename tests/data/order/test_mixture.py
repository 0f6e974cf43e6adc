"""Mixtures: shares that are exact over any positions, columns that keep to their lanes, indices without gaps."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_reference import mixed

from mammut_clip.data.order.mixture import Mixture
from mammut_clip.data.order.shares import LONGEST_PERIOD, even_sequence, whole_shares

some_shares = st.lists(st.integers(1, 30), min_size=1, max_size=6)
some_weights = st.lists(st.floats(0.01, 50, allow_nan=False).map(lambda w: round(w, 1) or 0.1), min_size=1, max_size=4)
some_lanes = st.integers(1, 12)


def deviation(sequence: np.ndarray, shares: list[Fraction]) -> float:
    """The most that any prefix's count of any data set is off its share."""
    hits = sequence[:, None] == np.arange(len(shares))
    expected = np.arange(1, len(sequence) + 1)[:, None] * np.array([float(share) for share in shares])
    return float(np.abs(np.cumsum(hits, axis=0) - expected).max())


@settings(max_examples=80, deadline=None)
@given(some_shares)
def test_every_prefix_of_the_even_sequence_is_within_one(shares: list[int]) -> None:
    sequence = even_sequence(shares)
    assert np.bincount(sequence, minlength=len(shares)).tolist() == shares
    assert deviation(sequence, [Fraction(share, sum(shares)) for share in shares]) < 1


def test_the_longest_even_sequence_is_within_one() -> None:
    weights = [1.0, math.pi, math.e * 1000, 17.17, 250.0, 1e-3, 731.3]
    shares = whole_shares(weights, 256)
    assert sum(shares) == LONGEST_PERIOD
    assert deviation(even_sequence(shares), [Fraction(share, sum(shares)) for share in shares]) < 1


@pytest.mark.parametrize(
    ("weights", "lanes", "shares"),
    [
        ([5.5], 256, [1]),
        ([0.7, 0.3], 256, [7, 3]),
        ([0.1, 0.2, 0.7], 256, [1, 2, 7]),
        ([3_000_000, 12_000_000], 256, [1, 4]),
        ([1e-4, 0.9999], 256, [1, 9999]),
        ([0.5, 0.25, 0.25], 100, [2, 1, 1]),
        ([1e-9, 1.0], 256, [1, 65_535]),  # rounded up to one place
        ([1e-9, 1.0], 1000, [1, 65_999]),  # whole rows of lanes
    ],
)
def test_shares_of_weights(weights: list[float], lanes: int, shares: list[int]) -> None:
    assert whole_shares(weights, lanes) == shares


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(0.001, 1e4), min_size=1, max_size=8), st.sampled_from([1, 6, 256, 1000]))
def test_rounded_shares_are_close(weights: list[float], lanes: int) -> None:
    shares = whole_shares(weights, lanes)
    period = sum(shares)
    assert math.lcm(period, lanes) <= 2**20
    wanted = [weight / math.fsum(weights) for weight in weights]
    off = max(abs(share / period - want) for share, want in zip(shares, wanted, strict=True))
    tiny = sum(want < 1 / LONGEST_PERIOD for want in wanted)
    assert off < (1 + tiny) / LONGEST_PERIOD
    assert min(shares) >= 1


@settings(max_examples=80, deadline=None)
@given(some_weights, some_lanes, st.integers(0, 2**40), st.data())
def test_equals_counting_from_the_start(weights: list[float], lanes: int, seed: int, data: st.DataObject) -> None:
    # All columns have gone through the whole table after L blocks: go beyond that where it is short.
    block = math.lcm(lanes, sum(whole_shares(weights, lanes)))
    expected = mixed(weights, lanes, seed, min(2500, block * (lanes + 2)))
    mixture = Mixture(weights, lanes, seed)
    dataset, index = mixture.look_up(np.arange(len(expected)))
    assert list(zip(dataset.tolist(), index.tolist(), strict=True)) == expected
    position = data.draw(st.integers(0, len(expected)))
    counts = np.bincount(dataset[:position], minlength=len(weights))
    assert mixture.drawn_before(position) == counts.tolist()


@settings(max_examples=60, deadline=None)
@given(some_weights, some_lanes, st.integers(0, 2**40), st.integers(0, 10**15))
def test_columns_keep_to_their_lanes_and_leave_no_gaps(weights: list[float], lanes: int, seed: int, start: int) -> None:
    """Anywhere: what a column draws from a data set are its lane's next slots, and counts agree with the start."""
    mixture = Mixture(weights, lanes, seed)
    start -= start % lanes
    position = np.arange(start, start + 40 * lanes)
    dataset, index = mixture.look_up(position)
    assert np.array_equal(index % lanes, position % lanes)
    firsts = np.zeros((len(weights), lanes))
    for d in range(len(weights)):
        for lane in range(lanes):
            slots = index[(dataset == d) & (position % lanes == lane)] // lanes
            assert np.array_equal(np.diff(slots), np.ones(max(0, len(slots) - 1)))
            firsts[d, lane] = slots[0] if len(slots) else -1
    for d, before in enumerate(mixture.drawn_before(start)):
        if (firsts[d] >= 0).all():  # every lane's slots before `start`, added up
            assert before == firsts[d].sum()


@settings(max_examples=60, deadline=None)
@given(some_weights, some_lanes, st.integers(0, 2**40), st.integers(0, 10**9))
def test_any_positions_hold_the_shares(weights: list[float], lanes: int, seed: int, start: int) -> None:
    shares = [Fraction(share, sum(whole_shares(weights, lanes))) for share in whole_shares(weights, lanes)]
    mixture = Mixture(weights, lanes, seed)
    dataset, _ = mixture.look_up(np.arange(1500))
    assert deviation(dataset, shares) < 3
    dataset, _ = mixture.look_up(np.arange(start, start + 1500))
    assert deviation(dataset, shares) < 6
    rows = np.arange(start - start % lanes, start - start % lanes + 50 * lanes)
    counts = np.cumsum(mixture.look_up(rows)[0][:, None] == np.arange(len(shares)), axis=0)[lanes - 1 :: lanes]
    expected = np.arange(1, 51)[:, None] * lanes * np.array([float(share) for share in shares])
    assert np.abs(counts - expected).max() < 2


@pytest.mark.parametrize("lanes", [1, 7, 256])
def test_one_data_set_takes_every_position(lanes: int) -> None:
    position = np.concatenate([np.arange(5 * lanes), 10**15 + np.arange(1000)])
    dataset, index = Mixture([0.3], lanes, 0).look_up(position)
    assert not dataset.any()
    assert np.array_equal(index, position)


@pytest.mark.parametrize("share", [32_769, 4097, 1025, 257])
def test_a_batch_sees_many_lanes_of_each_data_set(share: int) -> None:
    """Shares a little off 1/2, 1/16, ...: rows read straight would come from as few as 16 lanes."""
    dataset, index = Mixture([share, 65_536 - share], 256, 0).look_up(np.arange(1 << 20))
    for start in range(0, 1 << 20, 1 << 16):
        drawn = index[start : start + 4096][dataset[start : start + 4096] == 0]
        assert len(np.unique(drawn % 256)) > 0.45 * min(256, len(drawn))


def test_lanes_stay_together() -> None:
    """No lane of a data set gets far ahead of another: windows are 256 slots long."""
    for weights in ([0.7, 0.2, 0.1], [0.123, 0.456, 0.421], [1e6 + 1, 12_423_374, 4e8]):
        dataset, index = Mixture(weights, 256, 0).look_up(np.arange(1 << 19))
        for d in range(len(weights)):
            slots = np.bincount(index[dataset == d] % 256, minlength=256)
            assert slots.max() - slots.min() < 64
