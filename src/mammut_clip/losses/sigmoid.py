"""The sigmoid loss of SigLIP (Zhai et al. 2023, equation 1) over a batch that is spread over ranks.

Blocks of texts travel round the ring of ranks and meet each rank's images, followed by the gradient that they have
gathered so far, which comes home after W steps. Memory grows with B x tile and not with W. The gradient is made in the
forward pass. While a rank scores one block, the next block and the gradient of the last one are under way.
"""

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mammut_clip.distributed.collectives import group_size, pass_on
from mammut_clip.losses.forward_gradients import as_wanted, scaled
from mammut_clip.losses.pairs import TILE, PairLoss, check_pairs, compute_dtype, highest, own_pairs, tiles

_TEXTS, _PULLS = 0, 1
"""Tags of what travels."""


def sigmoid_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor,
    logit_bias: Tensor,
    group: dist.ProcessGroup | None = None,
    tile: int = TILE,
) -> PairLoss:
    """Features [B, E] of this rank's pairs, unit length; factor and summand [] of logits -> loss of these images.

    The sum of -log sigmoid(label * logit) over these images and all texts of the global batch, divided by B; the label
    is 1 for a pair and -1 elsewhere. The mean over ranks of the returned losses is the loss of the global batch, and
    the mean over ranks of the gradients (what DDP and FSDP take) is its gradient. The accuracy is that of images that
    look for their text. Computed in float32 whatever comes in, also under autocast (float64 stays float64), with at
    most two blocks of B x tile at a time. Can be differentiated once.

    Raises ValueError where features are not [B, E] of the same pairs, or where ranks bring different B (once agreed,
    only on the rank that brings another: see check_batch_size).
    """
    check_pairs(image_features, text_features, tile, group, logit_scale=logit_scale, logit_bias=logit_bias)
    wanted = as_wanted(image_features, text_features, logit_scale, logit_bias)
    return PairLoss(*_SigmoidLoss.apply(*wanted, group, tile))


class _SigmoidLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor, group: dist.ProcessGroup | None, tile: int
    ) -> tuple[Tensor, Tensor]:
        ctx.dtypes = images.dtype, texts.dtype, scale.dtype, bias.dtype
        dtype, share = compute_dtype(images, texts), 1 / len(images)
        images, scale, bias = images.to(dtype), scale.to(dtype), bias.to(dtype)
        wanted = any(ctx.needs_input_grad)
        with torch.autocast(images.device.type, enabled=False):
            sums, text_pull = _round_the_ring(images, texts, scale, bias, group, tile, wanted)
            if text_pull is not None:
                pulls = scale * sums.image_pull, scale * text_pull, (sums.image_pull * images).sum(), sums.bias_pull
                ctx.save_for_backward(*(share * pull for pull in pulls))
            accuracy = share * highest(sums.pairs, sums.rivals, scale + bias.abs()).sum(dtype=dtype)
            ctx.mark_non_differentiable(accuracy)
            return share * sums.loss, accuracy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return *scaled(ctx.saved_tensors, gradient, ctx.dtypes), None, None


class _Sums(NamedTuple):
    """What a rank adds up over all texts; a pull is a gradient before the factors that all its entries share."""

    loss: Tensor
    bias_pull: Tensor
    image_pull: Tensor
    pairs: Tensor
    """[B], the logit of each image's own text."""
    rivals: Tensor
    """[B], the highest logit of another text so far."""

    def note(self, logits: Tensor, pairs: Tensor, which: slice) -> None:
        """A tile of logits, and the view of the pairs in it, which are those of rows `which`; or of none."""
        if len(pairs):
            self.pairs[which] = pairs
            pairs.fill_(float("-inf"))
        torch.maximum(self.rivals, logits.amax(dim=1), out=self.rivals)
        if len(pairs):
            pairs.copy_(self.pairs[which])


def _round_the_ring(
    images: Tensor,
    texts: Tensor,
    scale: Tensor,
    bias: Tensor,
    group: dist.ProcessGroup | None,
    tile: int,
    wanted: bool,
) -> tuple[_Sums, Tensor | None]:
    """Sums over these images [B, E] and all texts; and, if `wanted`, what all images pull on these texts [B, E]."""
    pairs, rivals = images.new_empty(len(images)), images.new_full((len(images),), float("-inf"))
    sums = _Sums(torch.zeros_like(bias), torch.zeros_like(bias), torch.zeros_like(images), pairs, rivals)
    steps, gathered = group_size(group), None
    for step in range(steps):
        coming = pass_on(texts, group, _TEXTS) if step + 1 < steps else None
        pull = torch.empty_like(images) if wanted else None
        _score(images, texts, scale, bias, sums, pull, own=step == 0, tile=tile)
        if pull is not None:
            gathered = pass_on(pull if gathered is None else pull.add_(gathered.wait()), group, _PULLS)
        if coming is not None:
            texts = coming.wait()
    return sums, None if gathered is None else gathered.wait()


def _score(
    images: Tensor,
    texts: Tensor,
    scale: Tensor,
    bias: Tensor,
    sums: _Sums,
    text_pull: Tensor | None,
    own: bool,
    tile: int,
) -> None:
    """Score images [B, E] against one block of texts [B, E], their pairs if `own`: add to sums, write text_pull."""
    rows = scale * images
    for which, part in tiles(texts, tile, images.dtype):
        logits = torch.addmm(bias, rows, part.T)
        pairs = own_pairs(logits, which, first=0) if own else logits.new_empty(0)
        sums.note(logits, pairs, which)
        pairs.neg_()  # from here on logits are times -label
        sums.loss.add_(F.softplus(logits, threshold=40).sum())
        if text_pull is not None:
            weights = logits.sigmoid_()
            pairs.neg_()
            sums.image_pull.addmm_(weights, part)
            torch.mm(weights.T, images, out=text_pull[which])
            sums.bias_pull.add_(weights.sum())
            del weights
        del logits, pairs  # before the next tile is made
