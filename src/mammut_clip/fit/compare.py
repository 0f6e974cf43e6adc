"""Which of two laws is lower where, and where the data do not say.

The laws' bootstrap refits are subtracted from one another over the compute that both groups were measured at;
one group is called ahead only where the interval of that difference leaves zero out.
"""

from dataclasses import dataclass
from itertools import combinations, groupby

import numpy as np

from mammut_clip.fit.bootstrap import Bootstrap, curves
from mammut_clip.fit.law import Law

_GRID = 61


@dataclass(frozen=True)
class Stretch:
    """A range of x with one verdict."""

    start: float
    end: float
    ahead: str | None
    """Name of the group with the lower error; None where the difference is not clear."""


@dataclass(frozen=True)
class Comparison:
    """Two groups over the x that both were measured at."""

    first: str
    second: str
    stretches: tuple[Stretch, ...]
    at: float
    """The largest x that both were measured at."""
    difference: float
    """Error of the first less error of the second there."""
    lower: float
    upper: float
    extrapolated: bool
    """At `at` one of the laws is beyond the points it was fitted to."""
    crossings: tuple[float, ...]
    """Where the two fitted laws meet within that range."""

    def sentence(self, unit: str) -> str:
        """What the data support, in plain words."""
        parts = [_words(s, self.first, self.second, unit) for s in self.stretches]
        if not parts:
            return f"{self.first} and {self.second} were not measured at the same compute: no comparison."
        return "; ".join(parts) + "."


def compare(
    laws: dict[str, Law], measured: dict[str, tuple[float, float]], level: float, bootstrap: Bootstrap
) -> tuple[Comparison, ...]:
    """Every pair of laws; measured: smallest and largest x of each group, held-out runs included."""
    pairs: list[Comparison] = []
    for first, second in combinations(laws, 2):
        start = max(measured[first][0], measured[second][0])
        end = min(measured[first][1], measured[second][1])
        if start >= end or any(laws[g].fit.degrees_of_freedom < 1 for g in (first, second)):
            continue
        pairs.append(_pair(first, second, laws, np.geomspace(start, end, _GRID), level, bootstrap))
    return tuple(pairs)


def _pair(
    first: str, second: str, laws: dict[str, Law], x: np.ndarray, level: float, bootstrap: Bootstrap
) -> Comparison:
    # Separate seeds: the two laws have points of their own, so their refits are independent.
    other = Bootstrap(bootstrap.method, bootstrap.count, bootstrap.seed + 1)
    draws = curves(laws[first].fit, x, bootstrap) - curves(laws[second].fit, x, other)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    gap = laws[first].predict(x) - laws[second].predict(x)
    verdict = [first if h < 0 else second if lo > 0 else None for lo, h in zip(low, high, strict=True)]
    stretches, i = [], 0
    for ahead, run in groupby(verdict):
        length = len(list(run))
        stretches.append(Stretch(float(x[i]), float(x[min(i + length, len(x) - 1)]), ahead))
        i += length
    crossed = np.flatnonzero(np.sign(gap[1:]) * np.sign(gap[:-1]) < 0)
    return Comparison(
        first=first,
        second=second,
        stretches=tuple(stretches),
        at=float(x[-1]),
        difference=float(gap[-1]),
        lower=float(low[-1]),
        upper=float(high[-1]),
        extrapolated=bool(x[-1] > min(laws[first].fit.x.max(), laws[second].fit.x.max())),
        crossings=tuple(float(np.sqrt(x[k] * x[k + 1])) for k in crossed),
    )


def _words(stretch: Stretch, first: str, second: str, unit: str) -> str:
    where = f"from {short(stretch.start)} to {short(stretch.end)} {unit}"
    if stretch.ahead is None:
        return f"{where} the data do not separate {first} from {second}"
    behind = second if stretch.ahead == first else first
    return f"{where} {stretch.ahead} has the lower error than {behind}"


def short(value: float) -> str:
    """Two digits, as in a sentence: 96, 44,000, 4e+10."""
    return f"{float(f'{value:.2g}'):,.0f}" if 10 <= value < 1e6 else f"{value:.2g}"
