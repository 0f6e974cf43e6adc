"""The order of one data set in epochs: every sample once per epoch, read in L lanes at the same time.

Lane u holds the virtual indices u, u + L, u + 2L, ... for ever, so that whoever owns the lane reads it alone. The
epoch's shards stand in random order, end to end, and are cut into one segment per lane; which lane gets which is
random. A lane goes through its segment from front to back, in windows whose samples are permuted; its first window
is shorter by a random phase, so that lanes do not all enter new windows at the same time.
A data set of at most lanes x window samples is permuted as a whole instead.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mammut_clip.config.data import ShuffleConfig
from mammut_clip.data.order import streams
from mammut_clip.data.order.mixing import below, permutation
from mammut_clip.data.order.windows import Drawn, Integers, ShardSequence, WindowedOrder, Windows, WindowShuffle

_EPOCHS_KEPT = 3  # a span can lie over an epoch's end, and lanes of a mixture pass it at different positions


class _Epoch(NamedTuple):
    sequence: ShardSequence
    lanes: Integers
    """[4, L]: each lane's first slot (index // L), its number of slots, the begin of its segment, its phase."""


class LaneOrder(WindowedOrder):
    """Epochs of a data set of more than lanes x window samples."""

    def __init__(self, counts: Integers, seed: int, dataset: int, shuffle: ShuffleConfig) -> None:
        super().__init__(WindowShuffle(shuffle.window, seed, streams.SAMPLES, dataset))
        self._counts = counts
        self._total = int(counts.sum())
        self._names = seed, dataset
        self._lanes, self._window = shuffle.lanes, shuffle.window
        self._epoch = lru_cache(maxsize=_EPOCHS_KEPT)(self._make_epoch)

    def _make_epoch(self, epoch: int) -> _Epoch:
        seed, dataset = self._names
        lane = np.arange(self._lanes)
        # Slot s of lane u is index s * L + u: the first one in the epoch, and the first one behind it.
        first = -((lane - epoch * self._total) // self._lanes)
        length = -((lane - (epoch + 1) * self._total) // self._lanes) - first
        owners = permutation(self._lanes, seed, streams.LANES, dataset, epoch)
        begin = np.empty_like(length)
        begin[owners] = np.cumsum(length[owners]) - length[owners]
        phase = below(self._window, seed, streams.PHASES, dataset, epoch, lane)
        shards = permutation(len(self._counts), seed, streams.SHARDS, dataset, epoch)
        return _Epoch(ShardSequence(self._counts, shards), np.stack([first, length, begin, phase]))

    def _windows(self, index: Integers) -> Windows:
        epoch = index // self._total
        slot, lane = np.divmod(index, self._lanes)
        epochs, which = np.unique(epoch, return_inverse=True)
        tables = np.stack([self._epoch(e).lanes for e in epochs.tolist()], axis=1)
        first, length, begin, phase = tables[:, which, lane]
        slot = slot - first
        number = (slot + phase) // self._window
        start = np.maximum(number * self._window - phase, 0)
        stop = np.minimum((number + 1) * self._window - phase, length)
        return Windows(
            number=(first + start) * self._lanes + lane,
            place=lane,
            key=(epoch, lane, number),
            begin=begin + start,
            length=stop - start,
            turn=slot - start,
        )

    def _at(self, index: Integers, offset: Integers) -> tuple[Integers, Integers]:
        shard, sample = np.empty_like(offset), np.empty_like(offset)
        epoch = index // self._total
        for e in np.unique(epoch).tolist():
            here = epoch == e
            shard[here], sample[here] = self._epoch(e).sequence.at(offset[here])
        return shard, sample


class CompleteOrder:
    """Epochs of a small data set: each is one permutation of all its samples, without windows."""

    def __init__(self, counts: Integers, seed: int, dataset: int) -> None:
        self._total = int(counts.sum())
        self._sequence = ShardSequence(counts, np.arange(len(counts)))
        self._shuffle = WindowShuffle(self._total, seed, streams.COMPLETE, dataset)

    def draw(self, index: Integers) -> Drawn:
        epoch, turn = np.divmod(index, self._total)
        length = np.full_like(index, self._total)
        whole = Windows(epoch, epoch % _EPOCHS_KEPT, (epoch,), np.zeros_like(index), length, turn)
        return Drawn(*self._sequence.at(self._shuffle.samples(whole)), np.full_like(index, -1))

    def neighbour(self, index: int, attempt: int) -> tuple[int, int] | None:
        return None
