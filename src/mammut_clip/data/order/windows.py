"""Windows of consecutive samples that are shuffled together, and orders of one data set that are made of them.

A window's permutation is a pure function of its key. Many are made at once with numpy, and each lane keeps the last
one, since an owner of lanes comes back to each of them in turn: about lanes x window bytes per data set at the
defaults.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mammut_clip.data.order.mixing import mix

Integers = npt.NDArray[np.int64]

_CELLS = 1 << 20  # window places that are worked on at once: bounds memory where windows are huge
_LAST = np.uint64(0xFFFFFFFFFFFFFFFF)


class Drawn(NamedTuple):
    """Samples of one data set, one array entry each."""

    shard: Integers
    sample: Integers
    window: Integers
    """Equal exactly for samples of one window of one lane; -1 where there are no windows."""


class DatasetOrder(Protocol):
    """The order of one data set: virtual indices 0, 1, 2, ... -> samples. Lane u holds the indices u, u + L, ..."""

    def draw(self, index: Integers) -> Drawn:
        """The samples at these indices, in any order; costs the same wherever they lie."""
        ...

    def neighbour(self, index: int, attempt: int) -> tuple[int, int] | None:
        """(shard, sample) to try instead of the sample at `index`, out of the same window; None: there is none left."""
        ...


class Windows(NamedTuple):
    """The windows that indices lie in, one array entry per index."""

    number: Integers
    """The first index of the window: no other of the data set has it."""
    place: Integers
    """Where the window's permutation is kept: the lane."""
    key: tuple[Integers, ...]
    """What the permutation depends on, besides seed and data set."""
    begin: Integers
    """The window's first sample, in the sequence that it is cut from."""
    length: Integers
    turn: Integers
    """Which of the window's samples it is the index's turn to draw: 0, ..., length - 1."""


def permutations(lengths: Integers, width: int, *parts: int | Integers) -> Integers:
    """Row g is `permutation(lengths[g], *parts[g])`, then places without meaning: [G, width].

    A part is a number, or an array [G].
    """
    columns = np.arange(width)
    words = mix(*(part if isinstance(part, int) else part[:, None] for part in parts), columns)
    words[columns >= lengths[:, None]] = _LAST  # stable: even an equal word of a true place stays before these
    return np.argsort(words, axis=-1, kind="stable")


class WindowShuffle:
    """Permutations of the windows of one data set."""

    def __init__(self, width: int, *parts: int) -> None:
        """`width`: samples in the longest window. `parts`: what all permutations depend on."""
        self.width = width
        self._parts = parts
        self._dtype = np.min_scalar_type(width - 1)
        # A tuple is replaced as a whole, so that threads can share this.
        self._kept: dict[int, tuple[int, npt.NDArray[np.unsignedinteger]]] = {}

    def samples(self, windows: Windows) -> Integers:
        """The sample that each index draws, counted from its window's first."""
        _, first, which = np.unique(windows.number, return_index=True, return_inverse=True)
        chosen = np.empty(len(which), dtype=np.int64)
        step = max(1, _CELLS // self.width)
        for start in range(0, len(first), step):
            rows = self._rows(windows, first[start : start + step])
            here = (which >= start) & (which < start + step)
            chosen[here] = rows[which[here] - start, windows.turn[here]]
        return chosen

    def _rows(self, windows: Windows, chosen: Integers) -> npt.NDArray[np.unsignedinteger]:
        """The permutations of the windows of the chosen indices: [G, width]."""
        names = list(zip(windows.place[chosen].tolist(), windows.number[chosen].tolist(), strict=True))
        kept = [self._kept.get(place, (-1, None)) for place, _ in names]
        rows = [row if held == number else None for (held, row), (_, number) in zip(kept, names, strict=True)]
        missing = [g for g, row in enumerate(rows) if row is None]
        if missing:
            of = chosen[missing]
            made = permutations(windows.length[of], self.width, *self._parts, *(part[of] for part in windows.key))
            for g, row in zip(missing, made.astype(self._dtype), strict=True):
                rows[g] = row
                place, number = names[g]
                self._kept[place] = number, row.copy()
        return np.stack([row for row in rows if row is not None])


class WindowedOrder(DatasetOrder, ABC):
    """A data set read in lanes, window after window."""

    def __init__(self, shuffle: WindowShuffle) -> None:
        self._shuffle = shuffle

    @abstractmethod
    def _windows(self, index: Integers) -> Windows: ...

    @abstractmethod
    def _at(self, index: Integers, offset: Integers) -> tuple[Integers, Integers]:
        """Shard and sample at places in the sequences that the windows of the indices are cut from."""

    def draw(self, index: Integers) -> Drawn:
        windows = self._windows(index)
        return Drawn(*self._at(index, windows.begin + self._shuffle.samples(windows)), windows.number)

    def neighbour(self, index: int, attempt: int) -> tuple[int, int] | None:
        """A third, then two thirds of the window further on: bytes near by, yet outside a short damaged stretch."""
        here = np.array([index])
        windows = self._windows(here)
        length = int(windows.length[0])
        away = attempt * max(1, length // 3)
        if attempt > 2 or away >= length:
            return None
        shard, sample = self._at(here, windows.begin + (self._shuffle.samples(windows) + away) % length)
        return int(shard[0]), int(sample[0])


class ShardSequence:
    """Shards laid end to end."""

    def __init__(self, counts: Integers, shards: Sequence[int] | Integers) -> None:
        """`counts`: samples per shard, indexed by the shard numbers in `shards`."""
        self._shards = np.asarray(shards)
        self._ends = np.cumsum(counts[self._shards])
        self._begins = self._ends - counts[self._shards]

    def at(self, offset: Integers) -> tuple[Integers, Integers]:
        """Shard, and sample in it, at each place of the sequence."""
        which = np.searchsorted(self._ends, offset, side="right")  # the last of equal ends: empty shards are passed by
        return self._shards[which], offset - self._begins[which]
