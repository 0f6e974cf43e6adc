"""A comparison in plain words: one sentence of what the data support, and what to beware of."""

from collections.abc import Sequence
from math import inf, isfinite

from mammut_clip.fit.compare.crossings import Crossing
from mammut_clip.fit.compare.pair import Comparison
from mammut_clip.fit.compare.verdict import Order


def sentence(pair: Comparison, unit: str) -> str:
    """What the data support: who is ahead where, where the laws cross among the data, what that is worth in x."""
    between = f"Between {short(pair.start)} and {short(pair.end)} {unit}"
    claims = [
        f"{s.ahead} has the lower error from {short(s.start)} to {short(s.end)}" for s in pair.stretches if s.ahead
    ]
    if not claims:
        return f"{between} the data do not separate {pair.first} from {pair.second}."
    if any(s.ahead is None for s in pair.stretches):
        claims.append("elsewhere the data do not separate them")
    claims += [_crossing(pair, c) for c in pair.inside]
    if (worth := _worth(pair, unit)) is not None:
        claims.append(worth)
    return f"{between}, {pair.first} against {pair.second}: {'; '.join(claims)}."


def warnings(pair: Comparison, unit: str) -> tuple[str, ...]:
    """One sentence for each thing that a reader could take for a finding and that the data do not show."""
    lines = [_outside(pair, c, unit) for c in pair.outside]
    if pair.crossings.beyond > 1.0 - pair.level and not any(c.place == "beyond" for c in pair.outside):
        lines.append(
            f"In {pair.crossings.beyond:.0%} of the refits the laws of {_both(pair)} cross beyond the data, "
            f"between {short(pair.end)} and {short(pair.searched[1])} {unit}."
        )
    for d in pair.differences:
        if d.extrapolated:
            factors = " and ".join(
                f"{short(factor)} outside the fitted points of {name}" for name, factor in d.extrapolated.items()
            )
            lines.append(
                f"At {short(d.x)} {unit} the comparison of {_both(pair)} is extrapolated: a factor of {factors}."
            )
    return tuple(lines)


def order_sentence(order: Order, unit: str) -> str:
    """Groups from the lowest error to the highest, as far as they are told apart."""
    ranks = [_listed(tier) + (" (not separated)" if len(tier) > 1 else "") for tier in order.tiers]
    return f"From {short(order.start)} to {short(order.end)} {unit}, lowest error first: {', then '.join(ranks)}."


def crossing_interval(crossing: Crossing) -> str:
    """3e+10 to 1.9e+11; open where draws do not cross."""
    return span(crossing.lower, crossing.upper)


def span(lower: float, upper: float) -> str:
    """An interval of positive numbers, either end of which may be open (0, infinite) or missing (NaN)."""
    if lower != lower:
        return "none"
    if lower == 0.0 and upper == inf:
        return "anywhere"
    if lower == 0.0:
        return f"{short(upper)} or less" if upper > 0 else "0"
    if upper == inf:
        return f"{short(lower)} or more" if isfinite(lower) else "infinite"
    return f"{short(lower)} to {short(upper)}"


def short(value: float) -> str:
    """Two digits, as in a sentence: 96, 44,000, 4e+10."""
    return f"{float(f'{value:.2g}'):,.0f}" if 10 <= value < 1e6 else f"{value:.2g}"


def _crossing(pair: Comparison, c: Crossing) -> str:
    interval = f"{pair.level:.0%} interval {crossing_interval(c)}"
    if pair.start <= c.lower and c.upper <= pair.end:
        return f"their laws cross at {short(c.x)} ({interval})"
    return f"whether they cross near {short(c.x)} is open ({interval})"


def _worth(pair: Comparison, unit: str) -> str | None:
    """The multiplier at the largest common x, of the group that is ahead there, where it is clearly below 1."""
    m = next(m for m in pair.multipliers if m.at == pair.end)
    leader, behind, ends = pair.first, pair.second, (m.lower, m.upper)
    if m.first_x > m.second_x:
        leader, behind, ends = behind, leader, (1.0 / m.upper, 1.0 / m.lower if m.lower else inf)
    least, most = min(m.first_x, m.second_x), max(m.first_x, m.second_x)
    if least == 0.0 or not ends[1] < 1.0:
        return None
    return (
        f"for the error of {behind} at {short(pair.end)}, {leader} needs {short(least / most)} times as many {unit} "
        f"({pair.level:.0%} interval {span(*ends)})"
    )


def _outside(pair: Comparison, c: Crossing, unit: str) -> str:
    if c.place == "beyond":
        again = "cross back" if c is not pair.crossings.found[0] else "cross"
        where = f"{short(c.x / pair.end)} times the largest that both were measured at ({short(pair.end)})"
    else:
        again = "also cross" if len(pair.crossings.found) > 1 else "cross"
        where = f"1/{short(pair.start / c.x)} of the smallest that both were measured at ({short(pair.start)})"
    return (
        f"The laws of {_both(pair)} {again} at {short(c.x)} {unit} "
        f"({pair.level:.0%} interval {crossing_interval(c)}), which lies outside the data: {where}. "
        "No measurement shows this crossing."
    )


def _listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _both(pair: Comparison) -> str:
    return f"{pair.first} and {pair.second}"
