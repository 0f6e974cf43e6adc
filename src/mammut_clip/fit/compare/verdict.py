"""Who is ahead where: ranges of x with one verdict, for a pair and for all groups at once."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TypeVar

import numpy as np

from mammut_clip.fit.compare.curves import Curves, Range
from mammut_clip.fit.forms import Array
from mammut_clip.fit.quantiles import middle

Label = TypeVar("Label", bound=Hashable)


@dataclass(frozen=True)
class Stretch:
    """A range of x with one verdict."""

    start: float
    end: float
    ahead: str | None
    """Name of the group with the lower error; None where the difference is not clear."""


@dataclass(frozen=True)
class Order:
    """A range of x with one order of all groups."""

    start: float
    end: float
    tiers: tuple[tuple[str, ...], ...]
    """Lowest error first. Every group of a tier is clearly below every group of the next; groups within one tier are
    not told apart, and stand as they were given."""


def stretches(curves: Curves, first: str, second: str, common: Range, level: float) -> tuple[Stretch, ...]:
    """One group is ahead where the interval of the difference leaves zero out, at each x by itself."""
    where = curves.between(*common)
    x, draws = curves.x[where], curves.draws[first][:, where] - curves.draws[second][:, where]
    low, high = middle(draws, level)
    ahead = np.where(_steady(x, high < 0), 1, np.where(_steady(x, low > 0), 2, 0))
    names = (None, first, second)
    return tuple(Stretch(start, end, names[label]) for start, end, label in _joined(x, ahead.tolist()))


def orders(curves: Curves, common: Range, level: float) -> tuple[Order, ...]:
    """The order of all groups over the x at which all were measured.

    Sorted by their laws, groups are parted after the k-th where, in (1 + level) / 2 of the draws, all of the first k
    are below all of the rest: one joint statement, not one per pair. For two groups it is the verdict of `stretches`.
    """
    where, names = curves.between(*common), curves.names
    x = curves.x[where]
    ranked = np.argsort(np.stack([curves.laws[n][where] for n in names]), axis=0, kind="stable")  # [G, m]
    draws = np.take_along_axis(np.stack([curves.draws[n][:, where] for n in names]), ranked[:, None, :], axis=0)
    highest = np.maximum.accumulate(draws, axis=0)[:-1]
    lowest = np.minimum.accumulate(draws[::-1], axis=0)[::-1][1:]
    parted = (highest < lowest).mean(axis=1) >= (1 + level) / 2  # [G - 1, m]
    held: dict[frozenset[int], np.ndarray] = {}
    for k, j in np.argwhere(parted):
        held.setdefault(frozenset(ranked[: k + 1, j].tolist()), np.zeros(len(x), dtype=bool))[j] = True
    steady = {better: _steady(x, mask) for better, mask in held.items()}
    labels = [_tiers(names, [better for better, mask in steady.items() if mask[j]]) for j in range(len(x))]
    return tuple(Order(*span) for span in _joined(x, labels))


def _tiers(names: Sequence[str], better: list[frozenset[int]]) -> tuple[tuple[str, ...], ...]:
    """Groups between one cut and the next; better: the groups below each cut, one set within another."""
    chain = [frozenset[int](), *sorted(better, key=len), frozenset(range(len(names)))]
    return tuple(tuple(names[i] for i in sorted(more - less)) for less, more in pairwise(chain))


def _steady(x: Array, claim: np.ndarray) -> np.ndarray:
    """The claim [m] without its stretches of less than a factor of two in x: the ends of an interval made of draws
    flicker."""
    kept, i = claim.copy(), 0
    for _, run in groupby(claim.tolist()):
        last = i + len(list(run)) - 1
        kept[i : last + 1] &= x[last] >= 2.0 * x[i]
        i = last + 1
    return kept


def _joined(x: Array, labels: Sequence[Label]) -> list[tuple[float, float, Label]]:
    """Neighbouring x of one label as (start, end, label); a stretch ends where the next one starts."""
    spans, i = [], 0
    for label, run in groupby(labels):
        after = i + len(list(run))
        spans.append((float(x[i]), float(x[min(after, len(x) - 1)]), label))
        i = after
    return spans
