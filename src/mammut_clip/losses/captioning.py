"""Cross-entropy of a captioner without [B, T, V] logits.

Padded positions go first (captions fill 15 to 25 of 77). What is left passes the vocabulary head in chunks
whose logits and gradients are computed together and thrown away at once, so that memory holds one chunk of
logits and the gradient of the head. The gradients are made in the forward pass: the head's products run three
times, as they would with whole logits, and not four times as with recomputation. Shapes: B batch, T text
positions, D width, V vocabulary, M positions with a label, C positions of a chunk.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

PAD_LABEL = 0
CHUNK_TOKENS = 4096
"""Positions per chunk: 0.8 GB of float32 logits at CLIP's vocabulary, enough for full matrix speed."""


def chunked_caption_loss(
    hidden: Tensor, head: Tensor, labels: Tensor, chunk_tokens: int = CHUNK_TOKENS
) -> tuple[Tensor, Tensor]:
    """Hidden [B, T, D], head [D, V], labels [B, T] -> (sum of losses [] float32, number of tokens [] int64).

    Label 0 is padding and has no loss, as in the released models. Products run in the dtype of `hidden`,
    softmax and all sums in float32.
    """
    kept = (labels != PAD_LABEL).flatten().nonzero().squeeze(1)
    positions = hidden.flatten(0, 1).index_select(0, kept)  # [M, D]
    targets = labels.flatten().index_select(0, kept)
    loss: Tensor = _ChunkedCrossEntropy.apply(positions, head.to(positions.dtype), targets, chunk_tokens)
    return loss, torch.tensor(len(kept), device=labels.device)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropies of `positions @ head` against `targets`."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, head: Tensor, targets: Tensor, chunk_tokens: int) -> Tensor:
        wants_positions, wants_head = ctx.needs_input_grad[:2]
        position_gradient = torch.empty_like(positions) if wants_positions else None
        head_gradient = torch.zeros_like(head, dtype=torch.float32) if wants_head else None
        total = torch.zeros((), dtype=torch.float32, device=positions.device)
        for start in range(0, len(positions), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            chunk, labels = positions[part], targets[part, None]
            logits = (chunk @ head).float()  # [C, V]
            log_partition = logits.logsumexp(dim=1, keepdim=True)
            total += (log_partition - logits.gather(1, labels)).sum()
            if not (wants_positions or wants_head):
                continue
            # softmax less one at the label, in place of the logits
            gradient = logits.sub_(log_partition).exp_()
            gradient.scatter_add_(1, labels, gradient.new_full(labels.shape, -1.0))
            gradient = gradient.to(chunk.dtype)
            if position_gradient is not None:
                position_gradient[part] = gradient @ head.T
            if head_gradient is not None:
                head_gradient += chunk.T @ gradient
        ctx.save_for_backward(position_gradient, head_gradient)
        ctx.head_dtype = head.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        positions, head = ctx.saved_tensors
        return (
            None if positions is None else positions * gradient.to(positions.dtype),
            None if head is None else (head * gradient).to(ctx.head_dtype),
            None,
            None,
        )
