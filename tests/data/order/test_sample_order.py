"""The order of samples: the same from any start and for any number of readers, and fixed by its seed for good."""

import pickle
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_reference import whole_order

from mammut_clip.config.data import ShuffleConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.order.sample_order import DatasetCounts, SampleOrder, SampleSpan, Sampling

few = st.integers(1, 7)
samplings = st.sampled_from(["epochs", "resampled"])
some_counts = st.lists(st.integers(0, 12), min_size=1, max_size=9).filter(any)
some_datasets = st.lists(st.tuples(some_counts, st.sampled_from([0.5, 1.0, 2.0, 3.5])), min_size=1, max_size=3)
Datasets = Sequence[tuple[list[int], float]]


def order_of(datasets: Datasets, seed: int, lanes: int, window: int, sampling: Sampling = "epochs") -> SampleOrder:
    known = [DatasetCounts(np.array(counts), weight) for counts, weight in datasets]
    return SampleOrder(known, seed, ShuffleConfig(lanes=lanes, window=window), sampling)


def assert_equal(found: SampleSpan, expected: SampleSpan, chosen: slice = slice(None)) -> None:
    for field in fields(SampleSpan):
        assert np.array_equal(getattr(found, field.name), getattr(expected, field.name)[chosen]), field.name


@settings(max_examples=60, deadline=None)
@given(some_datasets, st.integers(0, 2**64 - 1), few, few, samplings)
def test_equals_the_reference(datasets: Datasets, seed: int, lanes: int, window: int, sampling: Sampling) -> None:
    counts, weights = [counts for counts, _ in datasets], [weight for _, weight in datasets]
    expected = whole_order(counts, weights, seed, lanes, window, sampling, 250)
    span = order_of(datasets, seed, lanes, window, sampling).span(range(250))
    columns = (span.dataset, span.shard, span.sample, span.epoch, span.window)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected


@settings(max_examples=60, deadline=None)
@given(some_counts, st.integers(0, 2**40), few, few)
def test_every_sample_comes_once_per_epoch(counts: list[int], seed: int, lanes: int, window: int) -> None:
    order = order_of([(counts, 1.0)], seed, lanes, window)
    every = [(shard, sample) for shard, count in enumerate(counts) for sample in range(count)]
    assert order.samples_per_epoch == [len(every)]
    for epoch in range(3):
        span = order.span(range(epoch * len(every), (epoch + 1) * len(every)))
        assert sorted(zip(span.shard.tolist(), span.sample.tolist(), strict=True)) == every
        assert set(span.epoch.tolist()) == {epoch}
        assert order.epochs(epoch * len(every)) == [epoch]


@settings(max_examples=60, deadline=None)
@given(some_datasets, few, few, samplings, st.integers(0, 10**15), st.integers(0, 150), st.integers(1, 9))
def test_any_start_and_step_give_the_same_samples(
    datasets: Datasets, lanes: int, window: int, sampling: Sampling, base: int, skip: int, step: int
) -> None:
    """Far from 0 as well, whatever was asked before, and after pickling."""
    order = order_of(datasets, 5, lanes, window, sampling)
    whole = order.span(range(base, base + 200))
    copy = pickle.loads(pickle.dumps(order))
    for used in (order, copy, order_of(datasets, 5, lanes, window, sampling)):
        assert_equal(used.span(range(base + skip, base + 200, step)), whole, slice(skip, None, step))


@settings(max_examples=40, deadline=None)
@given(some_datasets, few, few, samplings, st.integers(0, 10**9), st.integers(1, 5), st.integers(1, 4))
def test_ranks_and_workers_together_see_the_whole(
    datasets: Datasets, lanes: int, window: int, sampling: Sampling, start: int, world: int, workers: int
) -> None:
    """Rank r takes every W-th position, and its worker w those with (position // W) % n == w."""
    whole = order_of(datasets, 5, lanes, window, sampling).span(range(start, start + 150))
    seen: dict[int, tuple[int, ...]] = {}
    for reader in range(world * workers):
        rank, worker = reader % world, reader // world
        first = start + (rank + worker * world - start) % (world * workers)
        positions = range(first, start + 150, world * workers)
        assert all(p % world == rank and p // world % workers == worker for p in positions)
        span = order_of(datasets, 5, lanes, window, sampling).span(positions)
        seen |= dict(zip(positions, zip(span.shard.tolist(), span.sample.tolist(), strict=True), strict=True))
    found = [seen[position] for position in range(start, start + 150)]
    assert found == list(zip(whole.shard.tolist(), whole.sample.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(some_datasets, st.integers(1, 3), few, st.integers(1, 4), st.integers(1, 3), samplings, st.integers(0, 10**9))
def test_no_two_owners_share_a_window(
    datasets: Datasets, times: int, window: int, world: int, workers: int, sampling: Sampling, start: int
) -> None:
    lanes = times * world * workers
    span = order_of(datasets, 1, lanes, window, sampling).span(range(start, start + 400))
    owner = (start + np.arange(400)) % (world * workers)
    of = np.stack([span.window, owner, span.dataset])[:, span.window >= 0]
    assert len(np.unique(of, axis=1).T) == len(np.unique(of[0]))  # nor data sets
    if sampling == "epochs":
        both = np.stack([span.window, span.epoch])[:, span.window >= 0]
        assert len(np.unique(both, axis=1).T) == len(np.unique(of[0]))  # nor epochs


def test_only_small_data_sets_have_no_windows() -> None:
    for total, has_windows in ((64, False), (65, True)):
        for sampling in ("epochs", "resampled"):
            span = order_of([([total], 1.0), ([1000], 1.0)], 0, 8, 8, sampling).span(range(200))
            assert set((span.window[span.dataset == 0] >= 0).tolist()) == {has_windows}
            assert (span.window[span.dataset == 1] >= 0).all()


def test_seeds_and_epochs_differ() -> None:
    for sampling in ("epochs", "resampled"):
        first, other = (order_of([([100] * 10, 1.0)], seed, 16, 32, sampling).span(range(2000)) for seed in (0, 1))
        number, elsewhere = (span.shard * 100 + span.sample for span in (first, other))
        assert (number[:1000] == number[1000:]).sum() < 50
        assert (number == elsewhere).sum() < 100
        assert len(set(first.augmentation_seed.tolist())) == 2000


def test_equal_data_sets_of_a_mixture_have_orders_of_their_own() -> None:
    span = order_of([([100] * 10, 1.0), ([100] * 10, 1.0)], 0, 16, 32).span(range(2000))
    first, second = (span.shard[span.dataset == d] % 10 * 100 + span.sample[span.dataset == d] for d in (0, 1))
    assert (first == second).sum() < 50


@pytest.mark.parametrize(
    ("sampling", "small", "large"),
    [
        (
            "epochs",
            [(2, 23), (2, 6), (0, 7), (4, 5), (2, 24), (3, 3)],
            [(429, 8212), (279, 4542), (683, 4071), (200, 5644)],
        ),
        (
            "resampled",
            [(2, 27), (2, 10), (0, 14), (4, 5), (2, 26), (3, 3)],
            [(803, 6899), (625, 3211), (294, 1055), (298, 5149)],
        ),
    ],
)
def test_the_order_is_fixed_for_good(
    sampling: Sampling, small: list[tuple[int, int]], large: list[tuple[int, int]]
) -> None:
    """Runs must continue under later versions: these figures, computed once, may never change."""
    order = order_of([([30, 0, 41], 0.7), ([5, 6], 0.3)], 42, 4, 8, sampling)
    span = order.span(range(10**12, 10**12 + 6))
    assert list(zip(span.shard.tolist(), span.sample.tolist(), strict=True)) == small
    order = SampleOrder([DatasetCounts(np.full(1000, 10_000))], 42, ShuffleConfig(), sampling)
    span = order.span(range(10**12, 10**12 + 4))
    assert list(zip(span.shard.tolist(), span.sample.tolist(), strict=True)) == large
    assert span.augmentation_seed[:2].tolist() == [6665702947921407925, 2620970212239481668]


def test_a_batch_is_well_mixed() -> None:
    """1,000 shards of 10,000 samples at the defaults, batches of 4,096: what contrastive learning needs."""
    order = SampleOrder([DatasetCounts(np.full(1000, 10_000))], 0, ShuffleConfig())
    for start in (0, 4096 * 1000):
        span = order.span(range(start, start + 4096))
        shards, times = np.unique(span.shard, return_counts=True)
        assert len(shards) >= 200
        assert times.max() <= 64  # 16 of each lane; more only where lanes meet in a shard
        assert (np.diff(span.shard) == 0).mean() < 0.02


def test_neighbours_in_a_shard_are_far_apart() -> None:
    order = SampleOrder([DatasetCounts(np.full(100, 10_000))], 0, ShuffleConfig())
    span = order.span(range(10**6))
    position = np.empty(10**6, dtype=np.int64)
    position[span.shard * 10_000 + span.sample] = np.arange(10**6)
    assert np.median(np.abs(np.diff(position))) > 10_000
    assert (np.diff(position // 4096) == 0).mean() < 0.1  # in one batch


@settings(max_examples=60, deadline=None)
@given(some_datasets, few, few, samplings, st.integers(0, 300))
def test_replacements_are_of_the_same_data_set_and_first_of_the_same_window(
    datasets: Datasets, lanes: int, window: int, sampling: Sampling, position: int
) -> None:
    order = order_of(datasets, 3, lanes, window, sampling)
    span = order.span(range(3000))  # all of the window
    sample = int(span.shard[position]), int(span.sample[position])
    first = int(np.cumsum([0, *(len(counts) for counts, _ in datasets)])[span.dataset[position]])
    counts = datasets[span.dataset[position]][0]
    tried = [order.replacement(position, attempt) for attempt in (1, 2, 3, 4)]
    assert tried == [order.replacement(position, attempt) for attempt in (1, 2, 3, 4)]
    assert all(0 <= shard - first < len(counts) and 0 <= at < counts[shard - first] for shard, at in tried)
    if span.window[position] >= 0 and sampling == "epochs":
        mine = span.window == span.window[position]
        others = set(zip(span.shard[mine].tolist(), span.sample[mine].tolist(), strict=True)) - {sample}
        near = set(tried[: min(2, len(others))])
        assert near <= others
        assert len(near) == min(2, len(others))


def test_resampled_replacements_lie_near_by() -> None:
    order = order_of([([50, 30, 40], 1.0)], 0, 4, 9, "resampled")
    span = order.span(range(400))
    starts = np.array([0, 50, 80])
    for position in range(400):
        near = [order.replacement(position, attempt) for attempt in (1, 2)]
        place = starts[span.shard[position]] + span.sample[position]
        away = {int(starts[shard] + sample - place) % 120 for shard, sample in near}
        assert len(away - {0}) >= 1
        assert all(min(distance, 120 - distance) < 9 for distance in away)


def test_later_replacements_come_from_anywhere() -> None:
    order = order_of([([50] * 20, 1.0)], 0, 8, 16)
    later = {order.replacement(position, attempt) for position in range(40) for attempt in range(3, 8)}
    assert len(later) > 150  # 200 draws from 1,000 samples: 181 on average
    assert {shard for shard, _ in later} == set(range(20))


def test_a_mixtures_epochs_are_counted() -> None:
    order = order_of([([40, 60], 0.75), ([10], 0.25)], 0, 4, 4)
    assert order.samples_per_epoch == [100, 10]
    assert order.epochs(0) == [0, 0]
    for position in (7, 40, 10_001):
        span = order.span(range(position))
        drawn = np.bincount(span.dataset, minlength=2)
        assert order.epochs(position) == [drawn[0] / 100, drawn[1] / 10]
    assert order.epochs(4 * 10**14) == [3 * 10**12, 10**13]


def test_no_positions_give_no_samples() -> None:
    assert len(order_of([([3], 1.0), ([40], 1.0)], 0, 2, 2).span(range(5, 5))) == 0


@pytest.mark.parametrize(
    ("datasets", "expected"),
    [
        ([], "at least one"),
        ([([], 1.0)], "data set 0 of 0 shards"),
        ([([3], 1.0), ([0, 0], 1.0)], "data set 1 of 2 shards with 0 samples"),
        ([([3, -1], 1.0)], "no count below 0"),
        ([([3], 1.0), ([3], 0.0)], "data set 1: weight = 0.0"),
        ([([3], float("nan"))], "weight = nan"),
    ],
)
def test_bad_data_sets_are_refused(datasets: Datasets, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        order_of(datasets, 0, 4, 4)


def test_bad_positions_are_refused() -> None:
    order = order_of([([3], 1.0)], 0, 4, 4)
    for positions in (range(-1, 5), range(9, 5, -1), range(2**62, 2**62 + 1)):
        with pytest.raises(InputError, match="positions = "):
            order.span(positions)
    for position, attempt in ((-1, 1), (0, 0)):
        with pytest.raises(InputError, match="attempt >= 1"):
            order.replacement(position, attempt)
    with pytest.raises(InputError, match="position = -1"):
        order.epochs(-1)
