"""Windows: permutations made many at once are those made alone, and kept ones never stand in for others."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.data.order.mixing import permutation
from mammut_clip.data.order.windows import ShardSequence, Windows, WindowShuffle, permutations


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 2**62)), min_size=1, max_size=10), st.integers(0, 2**64 - 1)
)
def test_many_at_once_are_those_made_alone(windows: list[tuple[int, int]], seed: int) -> None:
    lengths, keys = np.array(windows).T
    made = permutations(lengths, 20, seed, 4, keys)
    for row, (length, key) in zip(made, windows, strict=True):
        assert row[:length].tolist() == permutation(length, seed, 4, key).tolist()


def windows_of(numbers: np.ndarray, width: int, turn: int) -> Windows:
    """Windows of `width` samples, all kept at one place."""
    same = np.zeros_like(numbers)
    return Windows(numbers, same, (numbers,), same, same + width, same + turn)


def test_kept_permutations_never_stand_in_for_others() -> None:
    kept = WindowShuffle(50, 9)
    for number in (1, 2, 1, 1, 3, 2):
        for turn in (0, 49):
            drawn = kept.samples(windows_of(np.array([number]), 50, turn))
            assert drawn.tolist() == [permutation(50, 9, number)[turn]]


def test_more_windows_than_are_worked_on_at_once() -> None:
    """3,000 windows of 1,000 are three portions; the order in which they are asked for does not matter."""
    numbers = np.random.default_rng(0).permutation(3000)
    drawn = WindowShuffle(1000, 9).samples(windows_of(numbers, 1000, 7))
    for at in range(0, 3000, 100):
        assert drawn[at] == permutation(1000, 9, int(numbers[at]))[7]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(any), st.randoms(use_true_random=False))
def test_a_sequence_of_shards_passes_by_empty_ones(counts: list[int], random: object) -> None:
    shards = list(range(len(counts)))
    random.shuffle(shards)  # type: ignore[attr-defined]
    expected = [(shard, sample) for shard in shards for sample in range(counts[shard])]
    shard, sample = ShardSequence(np.array(counts), shards).at(np.arange(len(expected)))
    assert list(zip(shard.tolist(), sample.tolist(), strict=True)) == expected
