"""Weights of a mixture -> whole shares of a period, and the period's sequence in which each prefix is nearly exact.

The sequence solves the chairman assignment problem (Tijdeman, Discrete Mathematics 32, 1980): after t of P places,
data set d has been chosen t * m_d / P times, to within less than 1.
"""

import heapq
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

LONGEST_PERIOD = 65_536
_LONGEST_BLOCK = 1 << 20  # places of the table that a mixture keeps


def whole_shares(weights: Sequence[float], lanes: int) -> list[int]:
    """m_d, whose sum P is the period: m_d / P is the weight of d over the sum of weights.

    Exact for weights as they are written in decimals where that gives P <= 65,536 and a table lcm(P, lanes) of at most
    2^20 places. Otherwise P is at least 65,536 and m_d / P is off by less than 1 / P, unless some data sets weigh
    less than that: each is raised to 1 / P, at the cost of the others.
    """
    exact = [Fraction(str(weight)) for weight in weights]
    shares = _reduced([int(share * math.lcm(*(share.denominator for share in exact))) for share in exact])
    period = sum(shares)
    if period <= LONGEST_PERIOD and math.lcm(period, lanes) <= _LONGEST_BLOCK:
        return shares
    return _reduced(_rounded(exact, lanes * -(-LONGEST_PERIOD // lanes)))


def _reduced(shares: list[int]) -> list[int]:
    return [share // math.gcd(*shares) for share in shares]


def _rounded(weights: list[Fraction], period: int) -> list[int]:
    """Largest remainders, but at least 1 each."""
    quotas = [weight * period / sum(weights) for weight in weights]
    shares = [max(1, math.floor(quota)) for quota in quotas]
    missing = [quota - share for quota, share in zip(quotas, shares, strict=True)]
    while (short := period - sum(shares)) != 0:
        step = 1 if short > 0 else -1
        can_change = [d for d, share in enumerate(shares) if share + step >= 1]
        chosen = max(can_change, key=lambda d: step * missing[d])
        shares[chosen] += step
        missing[chosen] -= step
    return shares


def even_sequence(shares: Sequence[int]) -> npt.NDArray[np.int64]:
    """Data sets 0, ..., K - 1 in an order of length P = sum of shares, in which d comes shares[d] times.

    Choice j of d must fall on places floor(j P / m), ..., ceil((j + 1) P / m) - 1 for the prefixes to be right. Taking
    the earliest deadline first meets them all (Baruah et al., "Proportionate progress", Algorithmica 15, 1996).
    """
    period = sum(shares)
    released: list[list[int]] = [[] for _ in range(period)]
    for dataset, share in enumerate(shares):
        for choice in range(share):
            released[choice * period // share].append(dataset)
    chosen = [0] * len(shares)
    waiting: list[tuple[int, int]] = []
    sequence = []
    for datasets in released:
        for dataset in datasets:
            chosen[dataset] += 1  # choices released so far
            heapq.heappush(waiting, (-(-chosen[dataset] * period // shares[dataset]), dataset))
        sequence.append(heapq.heappop(waiting)[1])
    return np.array(sequence)
