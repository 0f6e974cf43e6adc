"""Which data set stands at a position of a mixture, and which of its virtual indices.

Positions are rows of L columns; column u draws only from lane u of any data set, so that lanes stay with their owners.
Blocks of lcm(L, P) positions hold whole periods of the even sequence of the shares, row after row. Read like that, a
data set with a share near 1/16 could keep to the same columns for many rows, and a batch would see few of its lanes.
Row k of a block is therefore turned by a random number of columns, and every block by one more than the block before,
so that each column goes through all L columns of the block's table in L blocks, and all have then drawn equally often.

Of the first p positions each data set has its share to within 3 samples, of any consecutive ones to within 6, of any
consecutive whole rows to within 2; of whole blocks it has it exactly.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mammut_clip.data.order import streams
from mammut_clip.data.order.mixing import below
from mammut_clip.data.order.shares import even_sequence, whole_shares
from mammut_clip.data.order.windows import Integers


class Mixture:
    """Positions -> data sets and their virtual indices; one data set: index = position."""

    def __init__(self, weights: Sequence[float], lanes: int, seed: int) -> None:
        """`weights` are in any unit. Holds 6 bytes for each of lcm(L, P) places, at most some 6 MB."""
        shares = whole_shares(weights, lanes)
        self._lanes = lanes
        self._block = math.lcm(lanes, sum(shares))
        self._per_block = np.array(shares) * (self._block // sum(shares))
        self._sequence = sequence = even_sequence(shares)
        row, column = np.arange(self._block // lanes)[:, None], np.arange(lanes)
        turned = (column + below(lanes, seed, streams.TURNS, row)) % lanes
        choice = sequence[(row * lanes + turned) % len(sequence)]
        self._earlier, per_column = _earlier_choices(choice, len(shares))
        self._choice = choice.astype(np.min_scalar_type(len(shares)))
        twice = np.concatenate([per_column, per_column])
        self._before = np.concatenate([np.zeros((1, len(shares)), dtype=np.int64), np.cumsum(twice, axis=0)])

    def look_up(self, position: Integers) -> tuple[Integers, Integers]:
        """Data set and virtual index at each position. Costs the same wherever they lie."""
        row, column = np.divmod(position, self._lanes)
        block, row = np.divmod(row, len(self._choice))
        round_, turn = np.divmod(block, self._lanes)
        of_table = (column + turn) % self._lanes
        dataset = self._choice[row, of_table].astype(np.int64)
        # How often the column drew from it in whole rounds of L blocks; in the blocks since then, which were the
        # table's columns u, u + 1, ...; and in this block.
        slot = round_ * self._per_block[dataset]
        slot += self._before[column + turn, dataset] - self._before[column, dataset]
        slot += self._earlier[row, of_table]
        return dataset, slot * self._lanes + column

    def drawn_before(self, position: int) -> list[int]:
        """Samples of each data set at the positions before this one."""
        row, columns = divmod(position, self._lanes)
        block, rows = divmod(row, len(self._choice))
        periods, rest = divmod(rows * self._lanes, len(self._sequence))
        kinds = len(self._per_block)
        in_rows = periods * np.bincount(self._sequence, minlength=kinds)
        in_rows += np.bincount(self._sequence[:rest], minlength=kinds)
        last = (np.arange(columns) + block) % self._lanes
        in_rows += np.bincount(self._choice[rows, last], minlength=kinds)
        return [block * whole + part for whole, part in zip(self._per_block.tolist(), in_rows.tolist(), strict=True)]


def _earlier_choices(choice: Integers, kinds: int) -> tuple[npt.NDArray[np.int32], Integers]:
    """How often each place's choice was made above it in its column [rows, L], and in each column at all [L, K]."""
    rows, lanes = choice.shape
    group = (choice + np.arange(lanes) * kinds).T.reshape(-1)  # column by column
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=lanes * kinds).astype(np.int64)
    rank = np.empty(len(group), dtype=np.int32)
    rank[order] = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank.reshape(lanes, rows).T, sizes.reshape(lanes, kinds)
