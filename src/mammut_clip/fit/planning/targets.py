"""What a plan is to make narrower: a law at some x, the difference of two laws there, or where two laws cross."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mammut_clip.config.errors import InputError
from mammut_clip.fit.compare.quantiles import interval
from mammut_clip.fit.forms import Array
from mammut_clip.fit.group import GroupFit
from mammut_clip.fit.residuals import Space
from mammut_clip.fit.run import FitReport

TargetName = Literal["law", "difference", "crossing"]
_GRID = 400
_BEYOND = 1e3
"""How far above the largest fitted x a crossing is looked for."""
_ENOUGH = 0.8
"""Share of draws that must cross for the place of the crossing to have an interval."""


@dataclass(frozen=True, eq=False)
class Target:
    """A number that the fitted laws give, with its draws in the scale that the design is linear in."""

    what: TargetName
    groups: tuple[str, ...]
    at: float | None
    """x of a law or a difference."""
    centre: float
    draws: Array
    """[count]; infinite for draws whose laws cross nowhere that was searched."""
    space: Space | None
    """law: the space of its residuals. None: errors (difference) or decades of x (crossing)."""
    level: float

    def ends(self, shrunk: float = 1.0) -> tuple[float, float]:
        """The interval's ends, as an error, a difference of errors or an x, after every draw's distance from the centre
        has shrunk by this factor."""
        low, high = (self.centre + shrunk * (end - self.centre) for end in interval(self.draws, self.level))
        return self._back(low), self._back(high)

    @property
    def value(self) -> float:
        """What the fitted laws give."""
        return self._back(self.centre)

    def __str__(self) -> str:
        if self.what == "crossing":
            return f"the crossing of {self.groups[0]} and {self.groups[1]}"
        named = " less ".join(self.groups)
        return f"the error of {named} at {self.at:.3g}"

    def _back(self, value: float) -> float:
        if self.space is not None:
            return float(self.space.backward(np.array(value)))
        return float(10**value) if self.what == "crossing" else float(value)


def law_target(report: FitReport, at: float, group: str) -> Target:
    """The law of one group at x = `at`."""
    (own,) = _groups(report, (group,))
    space = own.law.fit.objective.space
    centre = float(space.forward(own.estimate.predict([at]))[0])
    return Target("law", (group,), at, centre, space.forward(own.estimate.draws([at]))[:, 0], space, report.spec.level)


def difference_target(report: FitReport, at: float, first: str, second: str) -> Target:
    """The error of one group less that of another at x = `at`."""
    a, b = (group.estimate for group in _groups(report, (first, second)))
    centre = float((a.predict([at]) - b.predict([at]))[0])
    draws = (a.draws([at]) - b.draws([at]))[:, 0]
    return Target("difference", (first, second), at, centre, draws, None, report.spec.level)


def crossing_target(report: FitReport, first: str, second: str) -> Target:
    """Where the laws of two groups cross: of several places the one nearest to the end of what both were fitted to.

    Raises InputError where the fitted laws do not cross up to 1,000 times the largest fitted x, or where too many draws
    do not: nothing narrows an interval that is not there.
    """
    a, b = (group.estimate for group in _groups(report, (first, second)))
    shared = min(a.x_range[1], b.x_range[1])
    start, end = max(a.x_range[0], b.x_range[0]), _BEYOND * max(a.x_range[1], b.x_range[1])
    x = np.geomspace(start, end, _GRID)
    gap = a.predict(x) - b.predict(x)
    found = _changes(x, gap)
    if not found:
        raise InputError(f"the laws of {first} and {second} do not cross between {start:.2g} and {end:.2g}")
    centre, rises = min(found, key=lambda change: abs(change[0] - np.log10(shared)))
    draws = np.array([_crossing(x, drawn, centre, rises) for drawn in a.draws(x) - b.draws(x)])
    crossing = float(np.isfinite(draws).mean())
    if crossing < _ENOUGH:
        raise InputError(
            f"{first} and {second} cross in {crossing:.0%} of the draws only: where they cross is not known well "
            "enough to plan for; plan for their difference at some x first"
        )
    return Target("crossing", (first, second), None, centre, draws, None, report.spec.level)


def _changes(x: Array, gap: Array) -> list[tuple[float, bool]]:
    """log10 of every x where gap [len(x)] changes sign, and whether it rises there."""
    k, log = np.flatnonzero(np.sign(gap[1:]) * np.sign(gap[:-1]) < 0), np.log10(x)
    where = log[k] + (log[k + 1] - log[k]) * gap[k] / (gap[k] - gap[k + 1])
    return [(float(at), bool(after > 0)) for at, after in zip(where, gap[k + 1], strict=True)]


def _crossing(x: Array, gap: Array, near: float, rises: bool) -> float:
    """log10 of the x nearest to 10^near where gap [len(x)] changes sign in the same direction. Without such an x,
    minus infinity where its sign at 10^near is the one after the crossing, infinity where it is the one before."""
    alike = [at for at, up in _changes(x, gap) if up == rises]
    if alike:
        return min(alike, key=lambda at: abs(at - near))
    above = gap[np.argmin(np.abs(np.log10(x) - near))] > 0
    return -np.inf if above == rises else np.inf


def _groups(report: FitReport, names: tuple[str, ...]) -> tuple[GroupFit, ...]:
    known = {g.name: g for g in report.groups}
    for name in names:
        if name not in known:
            raise InputError(f"group {name!r}: the spec has no such group; known: {', '.join(known)}")
    return tuple(known[name] for name in names)
