"""Where two laws meet: each crossing of the fitted laws, with the interval that its draws give.

A crossing has a direction: the group that is ahead (lower) before it, and the one ahead after it. A draw in which no
such crossing happens is not left out of the interval, which would make it too narrow: if the new leader is ahead
already, the crossing came before the searched range (0), otherwise it comes after it (infinity). For laws that cross
once, P(crossing < x) is then P(the new leader is ahead at x).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mammut_clip.fit.compare.curves import Curves, Range
from mammut_clip.fit.compare.quantiles import interval
from mammut_clip.fit.forms import Array

Place = Literal["inside", "below", "beyond"]

_EQUAL = 1e-12
"""Laws closer than this share of their size are the same to rounding: no crossing is read from the sign."""


@dataclass(frozen=True)
class Crossing:
    """One x at which two fitted laws meet."""

    x: float
    lower: float
    """End of the interval; 0 where it lies before the searched range."""
    upper: float
    """End of the interval; infinite where it lies after the searched range."""
    ahead_before: str
    """The group with the lower error at smaller x."""
    ahead_after: str
    place: Place
    """Whether x lies among the x that both groups were measured at."""
    probability: float
    """Share of the draws that have this crossing: in its direction, between the crossings before and after it."""


@dataclass(frozen=True)
class Crossings:
    """All crossings of a pair, and how many of the draws have any."""

    found: tuple[Crossing, ...]
    """Of the fitted laws, by x; searched far beyond the data."""
    none_within: float
    """Share of draws that do not cross where both groups were measured."""
    none_at_all: float
    """Share of draws that do not cross anywhere in the searched range."""
    beyond: float
    """Share of draws that cross at a larger x than both were measured at."""


@dataclass(frozen=True)
class _Changes:
    """Sign changes in the rows of a gap [R, m]."""

    row: np.ndarray
    log_x: Array
    falls: np.ndarray
    """The gap goes from above to below zero: the first group takes the lead."""


def find_crossings(
    curves: Curves, first: str, second: str, common: Range, gap: Callable[[float], float], level: float
) -> Crossings:
    """Crossings of two groups; gap(x) is the error of the first less that of the second, for exact roots."""
    log_x = np.log(curves.x)
    central = _changes(_signs(curves.laws[first][None], curves.laws[second][None]), log_x)
    signs = _signs(curves.draws[first], curves.draws[second])
    drawn = _changes(signs, log_x)
    count = len(curves.draws[first])
    found = []
    walls = np.concatenate([[-np.inf], central.log_x, [np.inf]])
    for i, (near, falls) in enumerate(zip(central.log_x, central.falls, strict=True)):
        x = _root(gap, near, log_x)
        # A crossing on the far side of the next one of the laws answers to another crossing, or to none.
        taken = (drawn.falls == falls) & (drawn.log_x > walls[i]) & (drawn.log_x < walls[i + 2])
        places = _nearest(drawn.row[taken], drawn.log_x[taken], np.log(x), count)
        missing = np.isnan(places)
        ahead_already = (signs.sign[:, curves.at(x)] < 0) == falls
        places[missing] = np.where(ahead_already[missing], -np.inf, np.inf)
        low, high = interval(places, level)
        found.append(
            Crossing(
                x=x,
                lower=float(np.exp(low)),
                upper=float(np.exp(high)),
                ahead_before=second if falls else first,
                ahead_after=first if falls else second,
                place="below" if x < common[0] else "beyond" if x > common[1] else "inside",
                probability=float((~missing).mean()),
            )
        )
    start, end = np.log(common)

    def share(where: np.ndarray) -> float:
        """Of the draws, those with a crossing among the chosen ones."""
        return float((np.bincount(drawn.row[where], minlength=count) > 0).mean())

    within = (drawn.log_x >= start) & (drawn.log_x <= end)
    anywhere = np.ones(len(drawn.row), dtype=bool)
    return Crossings(tuple(found), 1.0 - share(within), 1.0 - share(anywhere), share(drawn.log_x > end))


@dataclass(frozen=True)
class _Signs:
    gap: Array
    sign: Array
    """[R, m] of -1, 0, 1; where the laws are equal to rounding, that of the last x where they are not."""


def _signs(one: Array, two: Array) -> _Signs:
    gap = one - two
    sign = np.where(np.abs(gap) <= _EQUAL * (np.abs(one) + np.abs(two)), 0.0, np.sign(gap))
    last = np.maximum.accumulate(np.where(sign != 0, np.arange(sign.shape[1]), 0), axis=1)
    return _Signs(gap, np.take_along_axis(sign, last, axis=1))


def _changes(signs: _Signs, log_x: Array) -> _Changes:
    row, k = np.nonzero(signs.sign[:, 1:] * signs.sign[:, :-1] < 0)
    before, after = signs.gap[row, k], signs.gap[row, k + 1]
    share = np.clip(before / (before - after), 0.0, 1.0)
    return _Changes(row, log_x[k] + share * (log_x[k + 1] - log_x[k]), after < 0)


def _nearest(row: np.ndarray, log_x: Array, target: float, count: int) -> Array:
    """[count]: of each row, the entry of log_x that is nearest to target; NaN where it has none."""
    nearest = np.full(count, np.nan)
    order = np.argsort(-np.abs(log_x - target), kind="stable")
    nearest[row[order]] = log_x[order]  # the nearest is written last
    return nearest


def _root(gap: Callable[[float], float], near: float, log_x: Array) -> float:
    """The crossing between the grid's neighbours of `near`, by bisection to the last bits."""
    k = int(np.clip(np.searchsorted(log_x, near, "right") - 1, 0, len(log_x) - 2))
    low, high = log_x[k], log_x[k + 1]
    above = gap(float(np.exp(low))) > 0
    if above == (gap(float(np.exp(high))) > 0):
        return float(np.exp(near))  # equal at a point of the grid
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if (gap(float(np.exp(middle))) > 0) == above else (low, middle)
    return float(np.exp(0.5 * (low + high)))
