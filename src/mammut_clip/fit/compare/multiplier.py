"""How much more compute one group needs than the other to reach the same error: C_first / C_second.

A multiplier of 2 says that the first needs twice the x of the second. It is asked for at an error, or at an x: the
error is then the one that the group which is behind reaches at x, so that the x of the other is smaller and, for an x
among the data, seldom an extrapolation. An error below a law's floor is never reached: the multiplier is then 0 or
infinite, and the share of draws in which that happens is reported.
"""

from dataclasses import dataclass

import numpy as np

from mammut_clip.fit.compare.curves import Curves
from mammut_clip.fit.compare.quantiles import interval
from mammut_clip.fit.estimate import Estimate
from mammut_clip.fit.forms import Array


@dataclass(frozen=True)
class Multiplier:
    """C_first / C_second at one error."""

    error: float
    at: float | None
    """The x that was asked for; None where an error was."""
    first_x: float
    """x at which the first group's law comes down to the error: 0 if it is below it from the start of the searched
    range, infinite if it never is there."""
    second_x: float
    ratio: float
    """first_x / second_x; 0 or infinite where one of them is; NaN where neither law reaches the error, or both are
    below it from the start."""
    lower: float
    """NaN, as is `upper`, where the laws have no ratio."""
    upper: float
    first_misses: float
    """Share of the draws in which the first group never reaches the error."""
    second_misses: float
    undefined: float
    """Share of the draws without a ratio, which the interval leaves out."""


def multiplier_at_x(
    curves: Curves, names: tuple[str, str], laws: dict[str, Estimate], x: float, level: float
) -> Multiplier:
    """x of the group that is behind at x, a point of the grid, against what the other needs for the same error."""
    k = curves.at(x)
    behind, other = sorted(names, key=lambda name: -curves.laws[name][k])
    error = float(curves.laws[behind][k])
    exact = {behind: x, other: _exact(curves, other, laws[other], error)}
    reached = reach(curves.x, curves.draws[other], curves.draws[behind][:, k : k + 1])[:, 0]
    drawn = {behind: np.full(len(reached), np.log(x)), other: reached}
    return _record(error, x, names, exact, drawn, level)


def multiplier_at_error(
    curves: Curves, names: tuple[str, str], laws: dict[str, Estimate], error: float, level: float
) -> Multiplier:
    """What the first needs for an error against what the second needs."""
    exact = {name: _exact(curves, name, laws[name], error) for name in names}
    drawn = {}
    for name in names:
        draws = curves.draws[name]
        drawn[name] = reach(curves.x, draws, np.full((len(draws), 1), error))[:, 0]
    return _record(error, None, names, exact, drawn, level)


def multiplier_band(
    curves: Curves, other: str, reference: str, where: np.ndarray, level: float
) -> tuple[Array, Array, Array]:
    """What `other` needs for the error that the reference reaches at the grid's points `where` [k], as a multiple of
    what the reference needs: of the laws [k], and the ends of its interval, for figures."""
    log_x = np.log(curves.x[where])
    law = reach(curves.x, curves.laws[other][None], curves.laws[reference][None, where])[0]
    draws = reach(curves.x, curves.draws[other], curves.draws[reference][:, where])
    ends = np.array([interval(column, level) for column in (draws - log_x).T])
    return np.exp(law - log_x), np.exp(ends[:, 0]), np.exp(ends[:, 1])


def reach(x: Array, curves: Array, errors: Array) -> Array:
    """log x [R, k] at which each curve [R, m] first comes down to its errors [R, k]: -inf where it is below them from
    the start, inf where it never is. A draw may rise again; what it has reached it keeps."""
    falling = np.minimum.accumulate(curves, axis=1)
    log_x = np.log(x)
    found = np.empty(errors.shape)
    for i, (curve, wanted) in enumerate(zip(falling, errors, strict=True)):
        found[i] = np.interp(wanted, curve[::-1], log_x[::-1], left=np.inf, right=-np.inf)
    return found


def _exact(curves: Curves, name: str, law: Estimate, error: float) -> float:
    """x at which a law reaches an error: by bisection between neighbours on the grid."""
    near = float(reach(curves.x, curves.laws[name][None], np.array([[error]]))[0, 0])
    if not np.isfinite(near):
        return float(np.exp(near))
    log_x = np.log(curves.x)
    k = int(np.clip(np.searchsorted(log_x, near, "left") - 1, 0, len(log_x) - 2))
    low, high = log_x[k], log_x[k + 1]
    for _ in range(60):
        middle = 0.5 * (low + high)
        reached = float(law.predict(np.exp([middle]))[0]) <= error
        low, high = (low, middle) if reached else (middle, high)
    return float(np.exp(high))


def _record(
    error: float,
    at: float | None,
    names: tuple[str, str],
    exact: dict[str, float],
    drawn: dict[str, Array],
    level: float,
) -> Multiplier:
    """exact: x of each law; drawn: log x [count] of its draws."""
    first, second = names
    with np.errstate(invalid="ignore", divide="ignore"):  # both 0 or both infinite: no ratio
        ratio = np.float64(exact[first]) / np.float64(exact[second])
        ratios = drawn[first] - drawn[second]
    undefined = np.isnan(ratios)
    low, high = (np.nan, np.nan) if np.isnan(ratio) else interval(ratios[~undefined], level)
    return Multiplier(
        error=error,
        at=at,
        first_x=exact[first],
        second_x=exact[second],
        ratio=float(ratio),
        lower=float(np.exp(low)),
        upper=float(np.exp(high)),
        first_misses=float((drawn[first] == np.inf).mean()),
        second_misses=float((drawn[second] == np.inf).mean()),
        undefined=float(undefined.mean()),
    )
