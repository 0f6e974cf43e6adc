"""Which of several laws is lower where, by how much, and where the data do not say.

Estimates and the range that each was measured over come in; pairs with crossings, differences, compute multipliers and
verdicts come out, all with intervals over the estimates' draws.
"""

from mammut_clip.fit.compare.comparisons import Comparisons, compare
from mammut_clip.fit.compare.crossings import Crossing, Crossings
from mammut_clip.fit.compare.multiplier import Multiplier
from mammut_clip.fit.compare.pair import Comparison, Difference
from mammut_clip.fit.compare.verdict import Order, Stretch
from mammut_clip.fit.compare.words import sentence, short, warnings

__all__ = [
    "Comparison",
    "Comparisons",
    "Crossing",
    "Crossings",
    "Difference",
    "Multiplier",
    "Order",
    "Stretch",
    "compare",
    "sentence",
    "short",
    "warnings",
]
