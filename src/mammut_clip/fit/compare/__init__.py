"""Which of several laws is lower where, by how much, and where the data do not say.

Estimates and the range that each was measured over come in; pairs with crossings, differences, compute multipliers and
verdicts come out, all with intervals over the estimates' draws.
"""

from mammut_clip.fit.compare.comparisons import Comparisons, check_reference, compare
from mammut_clip.fit.compare.multiplier import Multiplier
from mammut_clip.fit.compare.words import short

__all__ = ["Comparisons", "Multiplier", "check_reference", "compare", "short"]
