"""Parts of the trainer that have something to say in a row of metrics, and what they count between two rows."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Source(Protocol):
    """Counts on its own rank; ranks add their counts up in the row's own message."""

    def numbers(self) -> list[float]:
        """This rank's part since last asked; always as many. May wait for the device."""
        ...

    def row(self, sums: Sequence[float], samples_seen: int, seconds: float) -> dict[str, Any]:
        """The row's fields, from the sums over ranks of `numbers` and the seconds of training they cover."""
        ...


class Tally:
    """The numbers of several sources between two rows.

    A checkpoint between them takes along what was counted so far: the attempt that begins there carries it on, on rank
    0, and its first row counts what a run that was never stopped would have counted.
    """

    def __init__(self, sources: Sequence[Source], carried: Mapping[str, float]) -> None:
        """`carried`: as `named` gave it, on one rank; empty on the others."""
        self._sources = sources
        self._carried = dict(carried)
        self._names: list[list[str]] = []

    def take(self) -> list[float]:
        """This rank's part of the next row: all sources' numbers in one list."""
        parts = [source.numbers() for source in self._sources]
        self._names = [
            [f"{type(source).__name__}.{index}" for index in range(len(part))]
            for source, part in zip(self._sources, parts, strict=True)
        ]
        carried, self._carried = self._carried, {}
        return [
            number + carried.get(name, 0.0)
            for names, part in zip(self._names, parts, strict=True)
            for name, number in zip(names, part, strict=True)
        ]

    def carry(self, sums: Mapping[str, float]) -> None:
        """Count these, which stand for all ranks, with what this rank takes next."""
        self._carried = dict(sums)

    def named(self, sums: Sequence[float]) -> dict[str, float]:
        """The sums over ranks of what was taken last, by name, without those that are 0."""
        names = (name for part in self._names for name in part)
        return {name: number for name, number in zip(names, sums, strict=True) if number}

    def fields(self, sums: Sequence[float], samples_seen: int, seconds: float) -> dict[str, Any]:
        """All sources' fields of a row, from the sums over ranks of what was taken last."""
        fields: dict[str, Any] = {}
        start = 0
        for source, names in zip(self._sources, self._names, strict=True):
            end = start + len(names)
            fields |= source.row(sums[start:end], samples_seen, seconds)
            start = end
        return fields
