"""The paper's scales of samples seen (arXiv:2506.04598), carried on at both ends of its pattern."""

from decimal import Decimal
from itertools import pairwise

SCALES = tuple(int(Decimal(mantissa).scaleb(power)) for power in range(6, 11) for mantissa in ("1.28", "3.07", "6.4"))
"""1.28M, 3.07M, 6.4M, 12.8M, ... 64B."""


def _halfway(low: int, high: int) -> int:
    """The geometric mean, to three digits."""
    return int(Decimal(f"{(low * high) ** 0.5:.2e}"))


SCALES_AND_BETWEEN = tuple(sorted([*SCALES, *(_halfway(low, high) for low, high in pairwise(SCALES))]))
"""The scales, and on a logarithmic axis the points halfway between them: 1.28M, 1.98M, 3.07M, 4.43M, 6.4M, ..."""
