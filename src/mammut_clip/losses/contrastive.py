"""The contrastive loss of CLIP (Radford et al. 2021, figure 3) over a batch that is spread over ranks.

Each rank scores its B rows against all N = W * B, tile by tile, so that memory grows with B x tile; what grows with N
are the gathered features. The gradient is made in the forward pass: once a rank knows what every row and every column
of the global logits sum up to, it works out alone all that the global loss says of its own rows, and no gradient has
to travel. Six products of B x N x E, as with whole logits.
"""

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from mammut_clip.distributed.collectives import all_gather_rows, group_rank
from mammut_clip.losses.forward_gradients import as_wanted, scaled
from mammut_clip.losses.pairs import TILE, PairLoss, check_pairs, compute_dtype, highest, own_pairs, tiles


def contrastive_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor,
    group: dist.ProcessGroup | None = None,
    tile: int = TILE,
) -> PairLoss:
    """Features [B, E] of this rank's pairs, unit length, and the factor [] on similarities -> loss of these rows.

    The mean over ranks of the returned losses is the loss of the global batch, and the mean over ranks of the
    gradients (what DDP and FSDP take) is its gradient. The accuracy is that of images that look for their text and of
    texts that look for their image, together. Computed in float32 whatever comes in, also under autocast
    (float64 stays float64), with at most two blocks of B x tile at a time. Can be differentiated once.

    Raises ValueError where features are not [B, E] of the same pairs, or where ranks bring different B (once agreed,
    only on the rank that brings another: see check_batch_size).
    """
    check_pairs(image_features, text_features, tile, group, logit_scale=logit_scale)
    return PairLoss(*_ContrastiveLoss.apply(*as_wanted(image_features, text_features, logit_scale), group, tile))


class _ContrastiveLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, texts: Tensor, scale: Tensor, group: dist.ProcessGroup | None, tile: int
    ) -> tuple[Tensor, Tensor]:
        ctx.dtypes = images.dtype, texts.dtype, scale.dtype
        dtype = compute_dtype(images, texts)
        all_images, all_texts = all_gather_rows(torch.cat([images, texts], dim=1), group).chunk(2, dim=1)
        images, texts, scale = images.to(dtype), texts.to(dtype), scale.to(dtype)
        first, share = group_rank(group) * len(images), 1 / (2 * len(images))
        with torch.autocast(images.device.type, enabled=False):
            pairs = scale * (images * texts).sum(dim=1)
            of_images = _sum_rows(scale * images, all_texts, pairs, first, tile)
            of_texts = _sum_rows(scale * texts, all_images, pairs, first, tile)
            loss = share * (of_images.losses + of_texts.losses).sum()
            right = [highest(pairs, rows.rivals, scale) for rows in (of_images, of_texts)]
            accuracy = share * torch.cat(right).sum(dtype=dtype)
            ctx.mark_non_differentiable(accuracy)
            if not any(ctx.needs_input_grad):
                return loss, accuracy
            of_all_images, of_all_texts = _gather(of_images, of_texts, group)
            missed = (of_images.missed + of_texts.missed)[:, None]
            image_gradient = text_gradient = scale_gradient = None
            if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
                pull = _pull(scale * images, all_texts, of_images.partition, of_all_texts, first, tile) - missed * texts
                image_gradient, scale_gradient = share * scale * pull, share * (pull * images).sum()
            if ctx.needs_input_grad[1]:
                pull = (
                    _pull(scale * texts, all_images, of_texts.partition, of_all_images, first, tile) - missed * images
                )
                text_gradient = share * scale * pull
        ctx.save_for_backward(image_gradient, text_gradient, scale_gradient)
        return loss, accuracy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return *scaled(ctx.saved_tensors, gradient, ctx.dtypes), None, None


class _Partition(NamedTuple):
    """What turns logits into the softmax of their rows: exp(logit - highest) / total.

    Kept in two parts: float32 would lose digits of its logarithm at large scales.
    """

    highest: Tensor
    """[rows], the highest logit of each."""
    total: Tensor
    """[rows], the sum of exp(logit - highest)."""


class _Rows(NamedTuple):
    """What is known of rows of logits when all columns have been seen."""

    partition: _Partition
    losses: Tensor
    """[B], -log of the pair's share of the softmax."""
    missed: Tensor
    """[B], 1 less that share, but from the sum of the other columns, so that the pair may be all but sure."""
    rivals: Tensor
    """[B], the highest logit of the other columns; -inf where there are none."""


def _sum_rows(rows: Tensor, columns: Tensor, pairs: Tensor, first: int, tile: int) -> _Rows:
    """Scaled rows [B, E] with logits `pairs` [B] at their pairs, in columns `first` and on of [N, E]; tile by tile."""
    top, others = pairs, torch.zeros_like(pairs)
    rivals = torch.full_like(pairs, float("-inf"))
    for which, part in tiles(columns, tile, rows.dtype):
        logits = rows @ part.T
        own_pairs(logits, which, first).fill_(float("-inf"))
        rivals = torch.maximum(rivals, logits.amax(dim=1))
        before, top = top, torch.maximum(top, rivals)
        others = others * (before - top).exp() + logits.sub_(top[:, None]).exp_().sum(dim=1)
    rise = pairs - top
    total = others + rise.exp()
    return _Rows(_Partition(top, total), torch.log1p(others + rise.expm1()) - rise, others / total, rivals)


def _gather(of_images: _Rows, of_texts: _Rows, group: dist.ProcessGroup | None) -> list[_Partition]:
    """The partitions of this rank's images and texts -> those of all ranks, in one collective."""
    both = all_gather_rows(torch.stack([*of_images.partition, *of_texts.partition], dim=1), group)  # [N, 4]
    return [_Partition(*side) for side in both.T.contiguous().split(2)]


def _pull(rows: Tensor, columns: Tensor, own: _Partition, others: _Partition, first: int, tile: int) -> Tensor:
    """Scaled rows [B, E], the pairs of columns `first` and on of [N, E] -> what other columns pull on rows [B, E].

    The sum of all columns but the pair, each weighed by 2 N times the gradient of its logit: the logit's share of its
    row, by the rows' own partition, and of its column, by that of the others.
    """
    pull = torch.zeros_like(rows)
    for which, part in tiles(columns, tile, rows.dtype):
        shares = _shares(rows @ part.T, own, _Partition(others.highest[which], others.total[which]))
        own_pairs(shares, which, first).zero_()
        pull.addmm_(shares, part)
        del shares  # before the next tile is made
    return pull


def _shares(logits: Tensor, of_rows: _Partition, of_columns: _Partition) -> Tensor:
    """A tile of logits [B, t], in place -> each one's share of its row plus its share of its column."""
    exponentials = (logits - of_columns.highest).exp_()
    logits.sub_(of_rows.highest[:, None]).exp_().div_(of_rows.total[:, None])
    return logits.addcdiv_(exponentials, of_columns.total)
