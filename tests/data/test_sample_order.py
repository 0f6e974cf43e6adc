"""The order of samples: each once per epoch, the same from any start, and fixed by its seed for good."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config.errors import InputError
from mammut_clip.data.mixing import mix, permutation
from mammut_clip.data.order import SampleOrder

counts_of_shards = st.lists(st.integers(1, 12), min_size=1, max_size=9).map(lambda c: np.array(c, dtype=np.int64))


@settings(max_examples=60, deadline=None)
@given(counts_of_shards, st.integers(0, 2**40), st.integers(1, 10))
def test_every_sample_comes_once_per_epoch(counts: np.ndarray, seed: int, shuffle_shards: int) -> None:
    order = SampleOrder(counts, seed, shuffle_shards)
    every = [(shard, sample) for shard, count in enumerate(counts.tolist()) for sample in range(count)]
    for epoch in range(3):
        span = order.span(epoch * len(every), (epoch + 1) * len(every))
        assert sorted(zip(span.shard.tolist(), span.sample.tolist(), strict=True)) == every
        assert set(span.epoch.tolist()) == {epoch}


@settings(max_examples=60, deadline=None)
@given(counts_of_shards, st.integers(1, 4), st.integers(0, 300), st.integers(1, 60), st.data())
def test_any_start_gives_the_same_samples(
    counts: np.ndarray, shuffle_shards: int, start: int, length: int, data: st.DataObject
) -> None:
    whole = SampleOrder(counts, 5, shuffle_shards).span(0, start + length)
    part = SampleOrder(counts, 5, shuffle_shards).span(start, start + length)
    for name in ("shard", "sample", "epoch", "augmentation_seed"):
        assert np.array_equal(getattr(whole, name)[start:], getattr(part, name))
    position = data.draw(st.integers(start, start + length - 1))
    ref = SampleOrder(counts, 5, shuffle_shards)[position]
    offset = position - start
    assert ref == (part.shard[offset], part.sample[offset], part.epoch[offset], part.augmentation_seed[offset])


def test_windows_keep_to_their_shards() -> None:
    order = SampleOrder(np.full(12, 10), 3, 4)
    span = order.span(0, 120)
    windows = [set(span.shard[start : start + 40].tolist()) for start in (0, 40, 80)]
    assert [len(window) for window in windows] == [4, 4, 4]
    assert set.union(*windows) == set(range(12))


def test_seeds_and_epochs_differ_and_samples_are_well_mixed() -> None:
    counts = np.full(10, 100)
    first = SampleOrder(counts, 0, 10).span(0, 2000)
    other = SampleOrder(counts, 1, 10).span(0, 1000)
    number = first.shard * 100 + first.sample
    assert not np.array_equal(number[:1000], number[1000:])
    assert not np.array_equal(number[:1000], other.shard * 100 + other.sample)
    assert len(set(first.augmentation_seed.tolist())) == 2000
    # The mean number of any 250 of 1,000 has a standard deviation of 16: six of them, over four parts, never fail.
    for start in range(0, 1000, 250):
        assert abs(number[start : start + 250].mean() - 499.5) < 96


def test_the_order_is_fixed_for_good() -> None:
    """Runs must continue under later versions: these figures may never change."""
    assert mix(1, 2, 3).tolist() == [10973340334815308479]
    assert permutation(8, 7, 1).tolist() == [5, 7, 0, 1, 4, 3, 2, 6]
    order = SampleOrder(np.array([3, 4, 5]), 42, 2)
    assert [order[position][:2] for position in (0, 1, 2, 11, 12, 10**12)] == [
        (2, 4),
        (0, 0),
        (2, 3),
        (1, 1),
        (2, 4),
        (1, 3),
    ]


def test_random_words_are_uniform() -> None:
    words = mix(0, np.arange(1 << 14))
    bits = (words[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    share = bits.mean(axis=0)
    assert np.abs(share - 0.5).max() < 6 * 0.5 / 128  # six standard deviations
    assert len(np.unique(words)) == len(words)


def test_far_positions_cost_the_same() -> None:
    order = SampleOrder(np.full(1000, 10_000), 0, 16)
    assert order[10**15].epoch == 10**15 // 10**7


def test_bad_input_is_refused() -> None:
    for counts, shuffle in (([], 1), ([3, 0], 1), ([3], 0)):
        with pytest.raises(InputError):
            SampleOrder(np.array(counts, dtype=np.int64), 0, shuffle)
    with pytest.raises(InputError, match="positions 5 to 5"):
        SampleOrder(np.array([3]), 0, 1).span(5, 5)
