"""Random words: uniform, and with bits that are fixed for good."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.data.order.mixing import below, mix, permutation


def test_the_bits_are_fixed_for_good() -> None:
    """Runs must continue under later versions: these figures may never change."""
    assert mix(1, 2, 3).tolist() == [10973340334815308479]
    assert permutation(8, 7, 1).tolist() == [5, 7, 0, 1, 4, 3, 2, 6]
    assert below(1000, 1, 2, 3).tolist() == [479]


def test_random_words_are_uniform() -> None:
    words = mix(0, np.arange(1 << 14))
    bits = (words[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    share = bits.mean(axis=0)
    assert np.abs(share - 0.5).max() < 6 * 0.5 / 128  # six standard deviations
    assert len(np.unique(words)) == len(words)


def test_integers_below_a_bound_are_uniform() -> None:
    drawn = below(7, 3, np.arange(70_000))
    counts = np.bincount(drawn, minlength=7)
    assert len(counts) == 7
    assert np.abs(counts - 10_000).max() < 6 * 100


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 300), st.integers(0, 2**64 - 1))
def test_a_permutation_holds_every_number_once(count: int, seed: int) -> None:
    assert sorted(permutation(count, seed, 5).tolist()) == list(range(count))
