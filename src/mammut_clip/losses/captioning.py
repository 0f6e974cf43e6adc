"""Cross-entropy of a captioner without the logits of the whole batch.

Positions without a label never come here (see models/output.py). The others pass the vocabulary head in chunks whose
logits and gradients are computed together and thrown away at once, so that memory holds one chunk of logits, its
logarithmic softmax and the gradient of the head. The gradients are made in the forward pass: the head's products run
three times, as they would with whole logits, and not four times as with recomputation. Shapes: M positions with a
label, D width, V vocabulary, C positions of a chunk.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mammut_clip.losses.forward_gradients import as_wanted, scaled

CHUNK_TOKENS = 768
"""Positions per chunk: 0.15 GB of float32 logits at CLIP's vocabulary. Longer chunks were no faster on a CPU."""


def chunked_caption_loss(hidden: Tensor, head: Tensor, labels: Tensor, chunk_tokens: int = CHUNK_TOKENS) -> Tensor:
    """Hidden [M, D], head [D, V], labels [M] -> the sum of the token losses [] float32; every label counts.

    Products run in the dtype of `hidden`, under autocast in autocast's; softmax and all sums in float32 (float64
    inputs stay float64). Can be differentiated once. Raises ValueError where shapes do not fit.
    """
    if hidden.ndim != 2 or head.ndim != 2 or hidden.shape[1] != head.shape[0] or labels.shape != hidden.shape[:1]:
        raise ValueError(
            f"expected hidden [M, D], head [D, V] and labels [M], got {list(hidden.shape)}, {list(head.shape)} "
            f"and {list(labels.shape)}"
        )
    if chunk_tokens < 1:
        raise ValueError(f"chunk_tokens is {chunk_tokens}, expected 1 or more")
    loss: Tensor = _ChunkedCrossEntropy.apply(*as_wanted(hidden, head), labels, chunk_tokens, _product_dtype(hidden))
    return loss


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """What autocast would compute `hidden @ head` in; float64 it leaves alone."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device) and hidden.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return hidden.dtype


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropies of `hidden @ head` against `labels`."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, labels: Tensor, chunk_tokens: int, dtype: torch.dtype
    ) -> Tensor:
        ctx.dtypes = hidden.dtype, head.dtype
        hidden, head = hidden.to(dtype), head.to(dtype)
        sums = torch.promote_types(dtype, torch.float32)
        hidden_gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        head_gradient = torch.zeros_like(head, dtype=sums) if ctx.needs_input_grad[1] else None
        total = hidden.new_zeros((), dtype=sums)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), chunk_tokens):
                part = slice(start, start + chunk_tokens)
                rows = None if hidden_gradient is None else hidden_gradient[part]
                total += _chunk_loss(hidden[part], head, labels[part, None], rows, head_gradient)
        ctx.save_for_backward(hidden_gradient, head_gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *scaled(ctx.saved_tensors, gradient, ctx.dtypes), None, None, None


def _chunk_loss(
    chunk: Tensor, head: Tensor, labels: Tensor, chunk_gradient: Tensor | None, head_gradient: Tensor | None
) -> Tensor:
    """Chunk [C, D], head [D, V], labels [C, 1] -> the sum of their losses []; writes one gradient, adds to the other.

    A function of its own, so that a chunk's logits are gone before the next chunk's are made.
    """
    log_softmax = torch.log_softmax(chunk @ head, dim=1, dtype=torch.promote_types(chunk.dtype, torch.float32))
    loss = -log_softmax.gather(1, labels).sum()
    if chunk_gradient is None and head_gradient is None:
        return loss
    gradient = log_softmax.exp_()  # the softmax less one at the label
    gradient.scatter_add_(1, labels, gradient.new_full(labels.shape, -1.0))
    gradient = gradient.to(chunk.dtype)
    if chunk_gradient is not None:
        torch.mm(gradient, head.T, out=chunk_gradient)
    if head_gradient is None:
        return loss
    if head_gradient.dtype == gradient.dtype:
        head_gradient.addmm_(chunk.T, gradient)
    else:
        head_gradient += chunk.T @ gradient
    return loss
