"""All groups of a report against one another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_compare import CompareConfig
from mammut_clip.fit.compare.curves import Curves, Range, trace
from mammut_clip.fit.compare.pair import Comparison, compare_pair
from mammut_clip.fit.compare.verdict import Order, orders
from mammut_clip.fit.compare.words import order_sentence, sentence, short, warnings
from mammut_clip.fit.estimate import Estimate
from mammut_clip.fit.json_values import finite


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Every pair of groups; iterating gives the pairs."""

    level: float
    """Probability that the intervals are meant to have."""
    pairs: tuple[Comparison, ...]
    orders: tuple[Order, ...]
    """Of all groups, over the x at which all were measured; empty with fewer than three."""
    left_out: tuple[str, ...]
    """One sentence for each group or pair that is not compared, with the reason."""
    reference: str | None
    """The group that figures show the others against."""
    curves: Curves | None = field(repr=False)
    """What figures are drawn from; None where no group can be compared."""

    def __iter__(self) -> Iterator[Comparison]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def sentences(self, unit: str) -> list[str]:
        """What the data support, pair by pair, and what they do not; then the order of all groups."""
        lines = [line for pair in self.pairs for line in (sentence(pair, unit), *warnings(pair, unit))]
        return lines + [order_sentence(o, unit) for o in self.orders] + list(self.left_out)

    def to_json_dict(self, unit: str) -> dict[str, Any]:
        """Everything as plain JSON values; infinities and NaN become null."""
        return {
            "pairs": [
                finite(asdict(pair)) | {"sentence": sentence(pair, unit), "warnings": list(warnings(pair, unit))}
                for pair in self.pairs
            ],
            "orders": [asdict(o) | {"sentence": order_sentence(o, unit)} for o in self.orders],
            "left_out": list(self.left_out),
        }


def check_reference(config: CompareConfig, groups: Sequence[str]) -> None:
    """Raise InputError for a reference that is none of the groups: before anything is fitted, if it can be."""
    if config.reference is not None and config.reference not in groups:
        hint = nearest(config.reference, list(groups))
        raise InputError(f"comparison.reference = {config.reference!r}: no such group; {hint}")


def compare(
    estimates: Mapping[str, Estimate],
    measured: Mapping[str, Range],
    level: float = 0.95,
    config: CompareConfig | None = None,
) -> Comparisons:
    """Every pair of estimates (procedures or datasets; lower is better).

    measured: smallest and largest x of each group, held-out runs included. Row i of the draws of all estimates is taken
    to belong together, so a paired bootstrap narrows the intervals and an unpaired one does not.

    Raises InputError for a reference that is no group.
    """
    asked = config or CompareConfig()
    check_reference(asked, list(estimates))
    if len(estimates) < 2:
        return Comparisons(level, (), (), (), None, None)
    curves, left_out = trace(estimates, measured, asked)
    laws = {name: estimates[name] for name in curves.names}
    pairs: list[Comparison] = []
    for names in combinations(curves.names, 2):
        common = _common([measured[name] for name in names])
        if common is None:
            left_out += (f"{names[0]} and {names[1]} are not compared: {_apart(names, measured)}",)
        else:
            pairs.append(compare_pair(curves, names, laws, common, asked, level))
    shared = _common([measured[name] for name in curves.names])
    ranked = orders(curves, shared, level) if shared is not None and len(curves.names) > 2 else ()
    reference = asked.reference if asked.reference in curves.names else next(iter(curves.names), None)
    return Comparisons(level, tuple(pairs), ranked, left_out, reference, curves if pairs else None)


def _common(ranges: list[Range]) -> Range | None:
    """The x at which all were measured; None where there are none."""
    if not ranges:
        return None
    start, end = float(max(r[0] for r in ranges)), float(min(r[1] for r in ranges))
    return (start, end) if start < end else None


def _apart(names: tuple[str, str], measured: Mapping[str, Range]) -> str:
    spans = " and ".join(f"from {short(measured[n][0])} to {short(measured[n][1])}" for n in names)
    return f"they were measured {spans}, which have nothing in common"
