"""What the losses over all pairs of a global batch share: checks, tiles, and where a rank's own pairs stand.

Shapes: B rows of this rank, N = W * B rows of all ranks, E embedding.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from mammut_clip.distributed.batch_size import check_batch_size

TILE = 8192
"""Columns that are scored at once: 0.13 GB of float32 for 4,096 rows, enough for full matrix speed."""


class PairLoss(NamedTuple):
    """What a loss over pairs says of this rank's rows; the mean over ranks holds for the global batch."""

    loss: Tensor
    """[], with a gradient."""
    accuracy: Tensor
    """[], without: the share of rows whose own pair scores highest in the global batch. Ties count as wrong (where all
    features are the same nothing is told apart), up to rounding: a caption that stands twice is a tie."""


def check_pairs(images: Tensor, texts: Tensor, tile: int, group: dist.ProcessGroup | None, **scalars: Tensor) -> None:
    """Raise ValueError where features are not pairs [B, E], ranks bring different B, or scalars are not []."""
    if images.ndim != 2 or images.shape != texts.shape or len(images) == 0:
        raise ValueError(
            f"expected image and text features [B, E] of the same pairs, got {list(images.shape)} and "
            f"{list(texts.shape)}"
        )
    for name, scalar in scalars.items():
        if scalar.ndim != 0:
            raise ValueError(f"expected {name} of shape [], got {list(scalar.shape)}")
    if tile < 1:
        raise ValueError(f"tile is {tile}, expected 1 or more")
    check_batch_size(len(images), group)


def compute_dtype(images: Tensor, texts: Tensor) -> torch.dtype:
    """float32 whatever comes in, but float64 for float64."""
    return torch.promote_types(torch.promote_types(images.dtype, texts.dtype), torch.float32)


def tiles(columns: Tensor, tile: int, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Columns [N, E] -> (which, those [<= tile, E] as `dtype`), one tile after the other."""
    for start in range(0, len(columns), tile):
        which = slice(start, min(start + tile, len(columns)))
        yield which, columns[which].to(dtype)


def own_pairs(logits: Tensor, which: slice, first: int) -> Tensor:
    """A view of the entries of a tile of logits [B, <= tile] that are pairs, where row 0's stands in column `first`."""
    return logits.diagonal(first - which.start)


def highest(pairs: Tensor, rivals: Tensor, reach: Tensor) -> Tensor:
    """Logits [B] of pairs and the highest others of their rows [B] -> which pairs are higher, by more than rounding.

    Two products of the same vectors differ in their last digits, and how depends on where they stand in the batch.
    `reach` []: how far from 0 the terms of a logit can be.
    """
    return pairs - rivals > 16 * torch.finfo(pairs.dtype).eps * reach
