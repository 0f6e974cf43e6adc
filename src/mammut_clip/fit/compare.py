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
        start, end = self.stretches[0].start, self.stretches[-1].end
        between = f"Between {short(start)} and {short(end)} {unit}"
        claims = [
            f"{s.ahead} has the lower error from {short(s.start)} to {short(s.end)}" for s in self.stretches if s.ahead
        ]
        if not claims:
            return f"{between} the data do not separate {self.first} from {self.second}."
        rest = [] if all(s.ahead for s in self.stretches) else ["elsewhere the data do not separate them"]
        return f"{between}, {self.first} against {self.second}: {'; '.join(claims + rest)}."


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
    stretches = _stretches(x, verdict)
    crossed = np.flatnonzero(np.sign(gap[1:]) * np.sign(gap[:-1]) < 0)
    return Comparison(
        first=first,
        second=second,
        stretches=stretches,
        at=float(x[-1]),
        difference=float(gap[-1]),
        lower=float(low[-1]),
        upper=float(high[-1]),
        extrapolated=bool(x[-1] > min(laws[first].fit.x.max(), laws[second].fit.x.max())),
        crossings=tuple(float(np.sqrt(x[k] * x[k + 1])) for k in crossed),
    )


def _stretches(x: np.ndarray, verdict: list[str | None]) -> tuple[Stretch, ...]:
    """Neighbouring x of one verdict, joined. A lead over less than a factor of two in x is no lead: the ends of an
    interval made of draws flicker."""
    steady: list[str | None] = []
    for ahead, run in groupby(verdict):
        length = len(list(run))
        last = len(steady) + length - 1
        wide = x[last] >= 2.0 * x[len(steady)]
        steady += [ahead if wide else None] * length
    joined, i = [], 0
    for ahead, run in groupby(steady):
        length = len(list(run))
        joined.append(Stretch(float(x[i]), float(x[min(i + length, len(x) - 1)]), ahead))
        i += length
    return tuple(joined)


def short(value: float) -> str:
    """Two digits, as in a sentence: 96, 44,000, 4e+10."""
    return f"{float(f'{value:.2g}'):,.0f}" if 10 <= value < 1e6 else f"{value:.2g}"
