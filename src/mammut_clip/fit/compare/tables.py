"""Comparisons as tables: verdicts and crossings, differences, multipliers, orders."""

from math import isfinite, isnan

from mammut_clip.fit.compare.comparisons import Comparisons
from mammut_clip.fit.compare.multiplier import Multiplier
from mammut_clip.fit.compare.pair import Comparison
from mammut_clip.fit.compare.words import crossing_interval, short, span
from mammut_clip.fit.tables import Table

_PLACES = {"inside": "inside the data", "below": "below the data", "beyond": "beyond the data"}


def comparison_tables(comparisons: Comparisons, unit: str) -> dict[str, Table]:
    """Name -> table, those without rows left out. unit: of x, such as GFLOPs (paper)."""
    tables = {
        "comparison_verdicts": verdict_table(comparisons, unit),
        "comparison_crossings": crossing_table(comparisons, unit),
        "comparison_differences": difference_table(comparisons, unit),
        "comparison_multipliers": multiplier_table(comparisons, unit),
        "comparison_orders": order_table(comparisons, unit),
    }
    return {name: table for name, table in tables.items() if table.rows}


def verdict_table(comparisons: Comparisons, unit: str) -> Table:
    """One row per stretch of x: who is ahead."""
    header = ("first", "second", f"from, {unit}", f"to, {unit}", "lower error")
    rows = tuple(
        (p.first, p.second, f"{s.start:.3g}", f"{s.end:.3g}", s.ahead or "not separated")
        for p in comparisons
        for s in p.stretches
    )
    return Table(header, rows)


def crossing_table(comparisons: Comparisons, unit: str) -> Table:
    """One row per crossing of the fitted laws, and one for a pair without any."""
    header = (
        "first",
        "second",
        f"crossing, {unit}",
        _interval(comparisons),
        "lower before",
        "lower after",
        "where",
        "share of refits",
        "none among the data",
        "none at all",
    )
    rows: list[tuple[str, ...]] = []
    for p in comparisons:
        none = (f"{p.crossings.none_within:.1%}", f"{p.crossings.none_at_all:.1%}")
        for c in p.crossings.found:
            share = f"{c.probability:.1%}"
            found = (f"{c.x:.3g}", crossing_interval(c), c.ahead_before, c.ahead_after, _PLACES[c.place], share)
            rows.append((p.first, p.second, *found, *none))
        if not p.crossings.found:
            rows.append((p.first, p.second, "none", "", "", "", "", "", *none))
    return Table(header, tuple(rows))


def difference_table(comparisons: Comparisons, unit: str) -> Table:
    """One row per pair and x: both errors and their difference."""
    header = (
        "first",
        "second",
        unit,
        "error of first",
        "error of second",
        "difference",
        _interval(comparisons),
        "first lower",
        "extrapolated",
    )
    rows = tuple(
        (
            p.first,
            p.second,
            f"{d.x:.3g}",
            f"{d.first_error:.4f}",
            f"{d.second_error:.4f}",
            f"{d.difference:+.4f}",
            f"{d.lower:+.4f} to {d.upper:+.4f}",
            f"{d.first_lower:.1%}",
            ", ".join(f"{name} by {short(factor)}" for name, factor in d.extrapolated.items()) or "no",
        )
        for p in comparisons
        for d in p.differences
    )
    return Table(header, rows)


def multiplier_table(comparisons: Comparisons, unit: str) -> Table:
    """One row per pair and error: what each group needs for it."""
    header = (
        "first",
        "second",
        "asked for",
        "error",
        f"first needs, {unit}",
        f"second needs, {unit}",
        "first / second",
        _interval(comparisons),
        "first misses it",
        "second misses it",
    )
    rows = tuple(
        (
            p.first,
            p.second,
            "error" if m.at is None else f"x = {m.at:.3g}",
            f"{m.error:.4f}",
            _needs(p, m.first_x),
            _needs(p, m.second_x),
            ratio_words(m),
            span(m.lower, m.upper),
            f"{m.first_misses:.1%}",
            f"{m.second_misses:.1%}",
        )
        for p in comparisons
        for m in p.multipliers
    )
    return Table(header, rows)


def order_table(comparisons: Comparisons, unit: str) -> Table:
    """One row per stretch of x: all groups, lowest error first; those not separated joined by =."""
    header = (f"from, {unit}", f"to, {unit}", "lowest error first")
    rows = tuple(
        (f"{o.start:.3g}", f"{o.end:.3g}", " < ".join(" = ".join(tier) for tier in o.tiers)) for o in comparisons.orders
    )
    return Table(header, rows)


def ratio_words(m: Multiplier) -> str:
    """The multiplier with two digits; in words where a law never reaches the error or always has."""
    if isnan(m.ratio):
        return "undefined"
    return short(m.ratio) if isfinite(m.ratio) and m.ratio > 0 else "infinite" if m.ratio else "0"


def _needs(pair: Comparison, x: float) -> str:
    low, high = pair.searched
    if x == 0.0:
        return f"less than {short(low)}"
    return f"{x:.3g}" if isfinite(x) else f"not reached by {short(high)}"


def _interval(comparisons: Comparisons) -> str:
    return f"{comparisons.level:.0%} interval"
