"""The order of one data set drawn with replacement, as in the paper's runs: stretches of shards at random places.

Each lane reads stretches as long as the mean shard, one after another; each starts at a uniformly random sample of
the data set (its shards end to end, and round again), so that every draw is uniform over all samples. Windows within
a stretch are permuted. Lanes begin at random phases of a stretch, so that they do not all move on at the same time.
A data set of at most lanes x window samples is drawn sample by sample instead.
"""

import numpy as np

from mammut_clip.config.data import ShuffleConfig
from mammut_clip.data.order import streams
from mammut_clip.data.order.mixing import below
from mammut_clip.data.order.windows import Drawn, Integers, ShardSequence, WindowedOrder, Windows, WindowShuffle


class ResampledLanes(WindowedOrder):
    """A data set of more than lanes x window samples, with replacement."""

    def __init__(self, counts: Integers, seed: int, dataset: int, shuffle: ShuffleConfig) -> None:
        self._total = int(counts.sum())
        self._stretch = -(-self._total // len(counts))
        self._lanes, self._window = shuffle.lanes, min(shuffle.window, self._stretch)
        super().__init__(WindowShuffle(self._window, seed, streams.SAMPLES, dataset))
        self._sequence = ShardSequence(counts, np.arange(len(counts)))
        self._names = seed, dataset
        self._phase = below(self._stretch, seed, streams.PHASES, dataset, np.arange(self._lanes))

    def _windows(self, index: Integers) -> Windows:
        seed, dataset = self._names
        slot, lane = np.divmod(index, self._lanes)
        phase = self._phase[lane]
        stretch, inside = np.divmod(slot + phase, self._stretch)
        number = inside // self._window
        start = number * self._window
        first = np.maximum(stretch * self._stretch + start - phase, 0)
        return Windows(
            number=first * self._lanes + lane,
            place=lane,
            key=(stretch, lane, number),
            begin=below(self._total, seed, streams.STRETCHES, dataset, lane, stretch) + start,
            length=np.minimum(self._window, self._stretch - start),
            turn=inside - start,
        )

    def _at(self, index: Integers, offset: Integers) -> tuple[Integers, Integers]:
        return self._sequence.at(offset % self._total)


class ResampledDraws:
    """A small data set, each index a draw of its own."""

    def __init__(self, counts: Integers, seed: int, dataset: int) -> None:
        self._total = int(counts.sum())
        self._sequence = ShardSequence(counts, np.arange(len(counts)))
        self._names = seed, dataset

    def draw(self, index: Integers) -> Drawn:
        seed, dataset = self._names
        offset = below(self._total, seed, streams.DRAWS, dataset, index)
        return Drawn(*self._sequence.at(offset), np.full_like(index, -1))

    def neighbour(self, index: int, attempt: int) -> tuple[int, int] | None:
        return None
