"""Which bytes of a shard are read together, and how a shard is seen by those who read it.

Small neighbouring pieces cost less in one sequential read, from a disk as from an object store, so ranges that lie
near each other become one run.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

MAX_GAP = 64 * 2**10
"""Bytes between two ranges that are rather read and thrown away than skipped."""
MAX_RUN = 16 * 2**20
"""Bytes of one read, unless a single range is longer."""

Range = tuple[int, int]


class Stamp(NamedTuple):
    """By what a shard is recognised as the one that was seen before."""

    size: int | None
    """Bytes; None where that is not known before reading, as for a pipe."""
    version: str
    """Local: modification time in nanoseconds. Remote: its ETag or when it was last modified. "" if unknown."""


class ByteReader(Protocol):
    """An open shard, for walking its headers."""

    size: int | None
    """Bytes; None only if unknown."""

    def read_at(self, offset: int, count: int) -> bytes:
        """Bytes [offset, offset + count), fewer at the end."""


class Runs:
    """Ranges [start, stop) of one shard, merged into the runs that are read."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        """Raises ValueError for a range that ends before it starts."""
        self._ranges = ranges
        self.runs: list[Range] = []
        self._run_of = [-1] * len(ranges)
        for number in sorted(range(len(ranges)), key=lambda n: ranges[n]):
            start, stop = ranges[number]
            if not 0 <= start <= stop:
                raise ValueError(f"bytes {start} to {stop}: expected 0 <= start <= stop")
            if start == stop:
                continue
            first, last = self.runs[-1] if self.runs else (0, -MAX_GAP - 1)
            if stop <= last or (start - last <= MAX_GAP and stop - first <= MAX_RUN):
                self.runs[-1] = (first, max(stop, last))
            else:
                self.runs.append((start, stop))
            self._run_of[number] = len(self.runs) - 1

    def cut(self, blocks: Sequence[bytes]) -> list[bytes]:
        """The ranges, in the order given, out of the bytes of the runs; shorter where a run's bytes are."""
        found = []
        for (start, stop), run in zip(self._ranges, self._run_of, strict=True):
            first = self.runs[run][0] if run >= 0 else 0
            found.append(blocks[run][start - first : stop - first] if run >= 0 else b"")
        return found
