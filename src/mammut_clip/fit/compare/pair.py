"""Two groups against each other: verdicts, crossings, differences and multipliers."""

from dataclasses import dataclass

import numpy as np

from mammut_clip.config.fit_compare import CompareConfig
from mammut_clip.fit.compare.crossings import Crossing, Crossings, find_crossings
from mammut_clip.fit.compare.curves import Curves, Range
from mammut_clip.fit.compare.multiplier import Multiplier, multiplier_at_error, multiplier_at_x
from mammut_clip.fit.compare.verdict import Stretch, stretches
from mammut_clip.fit.estimate import Estimate
from mammut_clip.fit.quantiles import middle


@dataclass(frozen=True)
class Difference:
    """Errors of two groups at one x."""

    x: float
    first_error: float
    second_error: float
    difference: float
    """Error of the first less error of the second."""
    lower: float
    upper: float
    first_lower: float
    """Share of the draws in which the first group has the lower error."""
    extrapolated: dict[str, float]
    """Group -> factor by which x lies beyond (or below) the points it was fitted to; groups that are not, are left
    out."""


@dataclass(frozen=True)
class Comparison:
    """What the data say of two groups."""

    first: str
    second: str
    start: float
    """Smallest x at which both were measured."""
    end: float
    """Largest x at which both were measured, held-out runs included."""
    level: float
    searched: Range
    """Where crossings were looked for and errors were followed to."""
    stretches: tuple[Stretch, ...]
    """From start to end."""
    crossings: Crossings
    differences: tuple[Difference, ...]
    """At `end` and at every x asked for, by x."""
    multipliers: tuple[Multiplier, ...]
    """At the same x, then at every error asked for."""

    @property
    def inside(self) -> tuple[Crossing, ...]:
        """Crossings of the fitted laws among the x at which both were measured."""
        return tuple(c for c in self.crossings.found if c.place == "inside")

    @property
    def outside(self) -> tuple[Crossing, ...]:
        """The other crossings, of which the data say nothing."""
        return tuple(c for c in self.crossings.found if c.place != "inside")


def compare_pair(
    curves: Curves,
    names: tuple[str, str],
    laws: dict[str, Estimate],
    common: Range,
    config: CompareConfig,
    level: float,
) -> Comparison:
    """One pair; common: smallest and largest x at which both were measured, points of the curves' grid."""
    first, second = names

    def gap(x: float) -> float:
        return float(laws[first].predict(np.array([x]))[0] - laws[second].predict(np.array([x]))[0])

    places = sorted({common[1], *config.at})
    return Comparison(
        first=first,
        second=second,
        start=common[0],
        end=common[1],
        level=level,
        searched=(float(curves.x[0]), float(curves.x[-1])),
        stretches=stretches(curves, first, second, common, level),
        crossings=find_crossings(curves, first, second, common, gap, level),
        differences=tuple(_difference(curves, names, laws, x, level) for x in places),
        multipliers=(
            *(multiplier_at_x(curves, names, laws, x, level) for x in places),
            *(multiplier_at_error(curves, names, laws, e, level) for e in config.errors),
        ),
    )


def outside_points(laws: dict[str, Estimate], x: float) -> dict[str, float]:
    """Group -> factor by which x lies outside the points that its law was fitted to; only those it lies outside of."""
    factors = {}
    for name, law in laws.items():
        least, largest = law.x_range
        factor = max(x / largest, least / x)
        if factor > 1.0 + 1e-9:
            factors[name] = float(factor)
    return factors


def _difference(
    curves: Curves, names: tuple[str, str], laws: dict[str, Estimate], x: float, level: float
) -> Difference:
    k = curves.at(x)
    one, two = (float(curves.laws[name][k]) for name in names)
    draws = curves.draws[names[0]][:, k] - curves.draws[names[1]][:, k]
    low, high = middle(draws, level)
    return Difference(
        x=x,
        first_error=one,
        second_error=two,
        difference=one - two,
        lower=float(low),
        upper=float(high),
        first_lower=float((draws < 0).mean()),
        extrapolated=outside_points({name: laws[name] for name in names}, x),
    )
