"""The order of training samples: a pure function from a position to the sample that stands there.

Positions -> data sets and their virtual indices (mixture.py) -> samples of one data set (lanes.py in epochs,
resampled.py with replacement). No number of GPUs, nodes or workers enters, and no history, so that a run continues
anywhere from its position alone. Lane = position % L, whatever the data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mammut_clip.config.data import ShuffleConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.order import streams
from mammut_clip.data.order.lanes import CompleteOrder, LaneOrder
from mammut_clip.data.order.mixing import Words, below, mix
from mammut_clip.data.order.mixture import Mixture
from mammut_clip.data.order.resampled import ResampledDraws, ResampledLanes
from mammut_clip.data.order.windows import DatasetOrder, Integers, ShardSequence

Sampling = Literal["epochs", "resampled"]


@dataclass(frozen=True, eq=False)
class DatasetCounts:
    """What the order must know of one data set."""

    counts: Integers
    """Samples in each of its shards; some may be empty."""
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class SampleSpan:
    """The samples at some positions, one array entry each."""

    dataset: Integers
    shard: Integers
    """Numbered over all data sets, in order."""
    sample: Integers
    """Number of the sample in its shard."""
    epoch: Integers
    """Of its data set; resampled: how many times as many samples as it has were drawn before."""
    window: Integers
    """Equal exactly for samples of one window, which are consecutive in their shards and belong to one lane of one
    epoch; -1 where the data set is so small that it is shuffled completely."""
    augmentation_seed: Words
    """Seeds the random crop; differs between positions, thus between epochs of one sample."""

    def __len__(self) -> int:
        return len(self.shard)


class SampleOrder:
    """Positions 0, 1, 2, ... of a run -> samples."""

    def __init__(
        self, datasets: Sequence[DatasetCounts], seed: int, shuffle: ShuffleConfig, sampling: Sampling = "epochs"
    ) -> None:
        """Raises InputError where there is nothing to order."""
        _check(datasets)
        self._made_of = (tuple(datasets), seed, shuffle, sampling)
        self._seed = seed
        self._mixture = Mixture([dataset.weight for dataset in datasets], shuffle.lanes, seed)
        counts = [np.asarray(dataset.counts, dtype=np.int64) for dataset in datasets]
        self._sequences = [ShardSequence(c, np.arange(len(c))) for c in counts]
        self._orders = [_dataset_order(c, seed, d, shuffle, sampling) for d, c in enumerate(counts)]
        self._first_shards = [0, *np.cumsum([len(c) for c in counts]).tolist()]
        self.samples_per_epoch = [int(c.sum()) for c in counts]
        """Samples of each data set."""

    def __reduce__(self) -> tuple[type["SampleOrder"], tuple[tuple[DatasetCounts, ...], int, ShuffleConfig, Sampling]]:
        return SampleOrder, self._made_of

    def span(self, positions: range) -> SampleSpan:
        """The samples at these positions. Costs the same wherever they start, and whatever the step."""
        if positions.start < 0 or positions.step < 1 or positions.stop > self._end:
            raise InputError(f"positions = {positions}: expected 0 <= start, stop <= {self._end}, 1 <= step")
        position = np.arange(positions.start, positions.stop, positions.step)
        dataset, index = self._mixture.look_up(position)
        shard, sample, epoch, window = (np.empty_like(position) for _ in range(4))
        for d, order in enumerate(self._orders):
            here = np.flatnonzero(dataset == d)
            if len(here) == 0:
                continue
            drawn = order.draw(index[here])
            shard[here] = drawn.shard + self._first_shards[d]
            sample[here] = drawn.sample
            epoch[here] = index[here] // self.samples_per_epoch[d]
            window[here] = np.where(drawn.window < 0, -1, drawn.window * len(self._orders) + d)
        seeds = mix(self._seed, streams.AUGMENTATION, position)
        return SampleSpan(dataset, shard, sample, epoch, window, seeds)

    def replacement(self, position: int, attempt: int) -> tuple[int, int]:
        """(shard, sample) to try where the sample at `position` is bad: attempt = 1, 2, ...; of the same data set.

        The first two come from the same window, where there is one; later ones from anywhere.
        """
        if not 0 <= position < self._end or attempt < 1:
            raise InputError(f"replacement {attempt} at position {position}: expected attempt >= 1, position >= 0")
        datasets, index = self._mixture.look_up(np.array([position]))
        d = int(datasets[0])
        near = self._orders[d].neighbour(int(index[0]), attempt)
        if near is None:
            anywhere = below(self.samples_per_epoch[d], self._seed, streams.REPLACEMENT, position, attempt)
            shard, sample = self._sequences[d].at(anywhere)
            near = int(shard[0]), int(sample[0])
        return near[0] + self._first_shards[d], near[1]

    def epochs(self, position: int) -> list[float]:
        """How many times each data set has been gone through before `position`."""
        if position < 0:
            raise InputError(f"position = {position}: expected 0 or more")
        drawn = self._mixture.drawn_before(position)
        return [count / total for count, total in zip(drawn, self.samples_per_epoch, strict=True)]

    @property
    def _end(self) -> int:
        """Positions before this keep window numbers within 64 bits."""
        return 2**62 // len(self._orders)


def _check(datasets: Sequence[DatasetCounts]) -> None:
    if not datasets:
        raise InputError("data sets = []: expected at least one")
    for number, dataset in enumerate(datasets):
        counts = np.asarray(dataset.counts)
        if len(counts) == 0 or int(counts.min()) < 0 or int(counts.sum()) < 1:
            raise InputError(
                f"data set {number} of {len(counts)} shards with {int(counts.sum())} samples: expected at least one "
                "shard, one sample in all, and no count below 0"
            )
        if not 0 < dataset.weight < float("inf"):
            raise InputError(f"data set {number}: weight = {dataset.weight}: expected a number above 0")


def _dataset_order(
    counts: Integers, seed: int, dataset: int, shuffle: ShuffleConfig, sampling: Sampling
) -> DatasetOrder:
    small = int(counts.sum()) <= shuffle.lanes * shuffle.window
    if sampling == "resampled":
        return ResampledDraws(counts, seed, dataset) if small else ResampledLanes(counts, seed, dataset, shuffle)
    return CompleteOrder(counts, seed, dataset) if small else LaneOrder(counts, seed, dataset, shuffle)
