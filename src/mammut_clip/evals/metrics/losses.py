"""The losses over all pairs of a batch, as they are trained on; in float64, and without gradients.

Shapes: B pairs, E embedding.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

_LOGITS_AT_ONCE = 1 << 24
"""128 MiB of float64."""


def softmax_pair_loss(images: Tensor, texts: Tensor, scale: float) -> float:
    """CLIP's loss (Radford et al. 2021, figure 3) of features [B, E] of unit length and the factor on similarities: the
    mean cross-entropy of each picture among all texts and of each text among all pictures."""
    images, texts = scale * images.double(), texts.double()
    pairs = (images * texts).sum(dim=1)
    of_images, of_texts = _log_partitions(images, texts), _log_partitions(texts, images)
    return (0.5 * (of_images + of_texts) - pairs).mean().item()


def sigmoid_pair_loss(images: Tensor, texts: Tensor, scale: float, bias: float) -> float:
    """SigLIP's loss (Zhai et al. 2023, equation 1): -log sigmoid(label * logit) over all B x B, divided by B; the label
    is 1 for a pair and -1 elsewhere."""
    losses = []
    for first, logits in _blocks(scale * images.double(), texts.double()):
        against = logits + bias  # times -label, in the end
        against.diagonal(first).neg_()
        losses.append(-F.logsigmoid(-against).sum())
    return (torch.stack(losses).sum() / len(images)).item()


def _log_partitions(rows: Tensor, columns: Tensor) -> Tensor:
    """[B, E] and [B, E] -> [B], the logarithm of each row's sum of exponentiated logits."""
    return torch.cat([part.logsumexp(dim=1) for _, part in _blocks(rows, columns)])


def _blocks(rows: Tensor, columns: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(first row, products with all columns) of some rows of [B, E] at a time with [B, E]."""
    step = max(1, _LOGITS_AT_ONCE // len(columns))
    for first in range(0, len(rows), step):
        yield first, rows[first : first + step] @ columns.T
