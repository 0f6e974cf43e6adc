"""What a forward pass gives to the losses, and the small pieces that CLIP and MaMMUT share.

Shapes: B batch, T text positions, D width, E embedding, V vocabulary.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

PAD_ID = 0
"""Padding in ids and, as a label, a position without loss. The same id is the token `!` in CLIP's BPE."""

CaptionLoss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(hidden [B, T-1, D], head [D, V], labels [B, T-1]) -> (sum of the token losses [], number of tokens [])."""


class ModelOutput(NamedTuple):
    """One forward pass. Everything but the token count is float32, whatever the model computes in.

    A tuple, so that FSDP2 finds the tensors that gradients come back through.
    """

    image_features: Tensor
    """[B, E], unit length."""
    text_features: Tensor
    """[B, E], unit length."""
    logit_scale: Tensor
    """[], the factor on cosine similarities, already exponentiated."""
    caption_loss_sum: Tensor | None
    """[], the sum of the caption's token losses; None where no captioning pass was made."""
    caption_tokens: Tensor | None
    """[] int64, the number of labels that are not padding; None where no captioning pass was made."""


def finish(features: Tensor, normalize: bool) -> Tensor:
    """Features [B, E] in float32, of unit length where asked."""
    features = features.float()
    return F.normalize(features, dim=-1) if normalize else features


def exponentiated(logit_scale: nn.Parameter) -> Tensor:
    """The one-element parameter as a factor, [] float32."""
    return logit_scale.float().exp().sum()  # not squeeze: FSDP2 warns of views among a model's outputs


def check_length(ids: Tensor, longest: int) -> None:
    """Raise ValueError where a text has more positions than the model."""
    if ids.shape[1] > longest:
        raise ValueError(f"texts have {ids.shape[1]} positions, this model has {longest}")
