"""The order of training samples: a pure function from a position to the sample that stands there.

Every epoch permutes the shards. Each group of `shuffle_shards` consecutive ones is a window, whose samples
are permuted together. Every sample comes once per epoch. Nothing else enters: no number of GPUs, nodes or
workers, and no history, so that a run continues anywhere from its position alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mammut_clip.config.errors import InputError
from mammut_clip.data.mixing import Words, mix, permutation

Integers = npt.NDArray[np.int64]

_SHARDS, _SAMPLES, _AUGMENTATION = 1, 2, 3  # separate streams of random numbers


class SampleRef(NamedTuple):
    """The sample at one position."""

    shard: int
    sample: int
    """Number of the sample in its shard."""
    epoch: int
    augmentation_seed: int
    """Seeds the random crop; differs between positions, thus between epochs of one sample."""


@dataclass(frozen=True)
class SampleSpan:
    """The samples at consecutive positions, one array entry each."""

    shard: Integers
    sample: Integers
    epoch: Integers
    augmentation_seed: Words

    def __len__(self) -> int:
        return len(self.shard)


@dataclass(frozen=True)
class _Epoch:
    shards: Integers
    """Shard numbers in this epoch's order."""
    starts: Integers
    """Position in the epoch at which each window starts, and, last, the epoch's length."""


class SampleOrder:
    """Positions 0, 1, 2, ... of a run -> samples."""

    def __init__(self, counts: Integers, seed: int, shuffle_shards: int) -> None:
        """`counts`: samples per shard. Raises InputError where there is nothing to order."""
        if shuffle_shards < 1:
            raise InputError(f"shuffle_shards = {shuffle_shards}: expected 1 or more")
        if len(counts) == 0 or int(counts.min()) < 1:
            raise InputError("expected at least one shard, and at least one sample in each")
        self.counts = counts
        self.seed = seed
        self.shuffle_shards = shuffle_shards
        self.samples_per_epoch = int(counts.sum())
        # A batch may reach over the end of a window, and of an epoch: keep the last few of both.
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)
        self._window = lru_cache(maxsize=3)(self._make_window)

    def __reduce__(self) -> tuple[type["SampleOrder"], tuple[Integers, int, int]]:
        return SampleOrder, (self.counts, self.seed, self.shuffle_shards)

    def __getitem__(self, position: int) -> SampleRef:
        span = self.span(position, position + 1)
        return SampleRef(int(span.shard[0]), int(span.sample[0]), int(span.epoch[0]), int(span.augmentation_seed[0]))

    def span(self, start: int, stop: int) -> SampleSpan:
        """The samples at positions start, ..., stop - 1. Costs the same wherever it starts."""
        if not 0 <= start < stop:
            raise InputError(f"positions {start} to {stop}: expected 0 <= start < stop")
        shards, samples, epochs = [], [], []
        position = start
        while position < stop:
            epoch_number, in_epoch = divmod(position, self.samples_per_epoch)
            epoch = self._epoch(epoch_number)
            window = int(np.searchsorted(epoch.starts, in_epoch, side="right")) - 1
            begin, end = int(epoch.starts[window]), int(epoch.starts[window + 1])
            take = min(stop - position, end - in_epoch)
            shard, sample = self._window(epoch_number, window)
            chosen = slice(in_epoch - begin, in_epoch - begin + take)
            shards.append(shard[chosen])
            samples.append(sample[chosen])
            epochs.append(np.full(take, epoch_number))
            position += take
        seeds = mix(self.seed, _AUGMENTATION, np.arange(start, stop))
        return SampleSpan(np.concatenate(shards), np.concatenate(samples), np.concatenate(epochs), seeds)

    def _make_epoch(self, epoch: int) -> _Epoch:
        shards = permutation(len(self.counts), self.seed, _SHARDS, epoch)
        sizes = np.add.reduceat(self.counts[shards], np.arange(0, len(shards), self.shuffle_shards))
        return _Epoch(shards, np.concatenate([[0], np.cumsum(sizes)]))

    def _make_window(self, epoch: int, window: int) -> tuple[Integers, Integers]:
        first = window * self.shuffle_shards
        members = self._epoch(epoch).shards[first : first + self.shuffle_shards]
        ends = np.cumsum(self.counts[members])
        flat = permutation(int(ends[-1]), self.seed, _SAMPLES, epoch, window)
        which = np.searchsorted(ends, flat, side="right")
        return members[which], flat - (ends - self.counts[members])[which]
