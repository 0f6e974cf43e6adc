"""What goes into a captioning pass, what a forward pass gives to the losses, and the pieces that models share.

Shapes: B batch, T text positions, L positions that a decoder reads, M positions with a label, D width, E embedding,
V vocabulary.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD_ID = 0
"""Padding in ids and, as a label, a position without loss. The same id is the token `!` in CLIP's BPE."""

CaptionLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(hidden [M, D], head [D, V], labels [M]) -> the sum of the token losses []."""


class Captions(NamedTuple):
    """The captioning task of a batch without its padding: what a decoder reads, and what it should say next."""

    ids: Tensor
    """[B, L] int64: texts up to the last token that any row has a label for; L is a multiple of 8 or T - 1."""
    positions: Tensor
    """[M] int64: the places in the flattened [B * L] that have a label."""
    labels: Tensor
    """[M] int64: the next id at each of them."""


def make_captions(ids: Tensor) -> Captions:
    """Ids [B, T] -> the captioning task ids[:, :-1] -> ids[:, 1:]; label 0 is padding, as in the released models.

    Made on the CPU before the ids travel, since its shapes depend on the texts.
    """
    labels = ids[:, 1:]
    places = labels.ne(PAD_ID).any(dim=0).nonzero()
    needed = int(places[-1]) + 1 if len(places) else 1
    read = min(-(-needed // 8) * 8, labels.shape[1])  # in steps of 8, so that few shapes occur
    labels = labels[:, :read].flatten()
    positions = labels.ne(PAD_ID).nonzero().squeeze(1)
    return Captions(ids[:, :read].contiguous(), positions, labels[positions])


def cut_after_texts(ids: Tensor) -> Tensor:
    """Ids [B, T] without the columns behind the end of every text, in steps of 8; the end is the largest id."""
    longest = int(ids.argmax(dim=1).max()) + 1
    return ids[:, : -(-longest // 8) * 8]


class ModelOutput(NamedTuple):
    """One forward pass, float32 whatever the model computes in; None for what was not asked for.

    A tuple, so that FSDP2 finds the tensors that gradients come back through.
    """

    image_features: Tensor | None = None
    """[B, E], unit length."""
    text_features: Tensor | None = None
    """[B, E], unit length."""
    logit_scale: Tensor | None = None
    """[], the factor on cosine similarities, already exponentiated."""
    logit_bias: Tensor | None = None
    """[], what SigLIP adds to scaled similarities."""
    caption_loss_sum: Tensor | None = None
    """[], the sum of the captions' token losses."""


def finish(features: Tensor, normalize: bool) -> Tensor:
    """Features [B, E] in float32, of unit length where asked."""
    features = features.float()
    return F.normalize(features, dim=-1) if normalize else features


def exponentiated(logit_scale: nn.Parameter) -> Tensor:
    """The one-element parameter as a factor, [] float32."""
    return logit_scale.float().exp().sum()  # not squeeze: FSDP2 warns of views among a model's outputs


def scalar(parameter: nn.Parameter) -> Tensor:
    """A one-element parameter as [] float32."""
    return parameter.float().sum()


def both_tasks(
    features: Tensor, text_features: Tensor | None, logit_scale: nn.Parameter, caption_loss_sum: Tensor | None
) -> ModelOutput:
    """The output of a model that encodes and captions; features [B, E] only where texts were encoded."""
    if text_features is None:
        return ModelOutput(caption_loss_sum=caption_loss_sum)
    return ModelOutput(
        finish(features, normalize=True),
        finish(text_features, normalize=True),
        exponentiated(logit_scale),
        caption_loss_sum=caption_loss_sum,
    )


def check_length(ids: Tensor, longest: int) -> None:
    """Raise ValueError where a text has more positions than the model."""
    if ids.shape[1] > longest:
        raise ValueError(f"texts have {ids.shape[1]} positions, this model has {longest}")


def labelled(hidden: Tensor, captions: Captions) -> Tensor:
    """Hidden [B, L, D] -> [M, D], the positions that have a label."""
    return hidden.flatten(0, 1).index_select(0, captions.positions)


def text_mask(ids: Tensor) -> Tensor:
    """Ids [B, T] -> [B, T] bool, true up to and with each text's end, the largest id of the vocabulary."""
    ends = ids.argmax(dim=1, keepdim=True)
    return torch.arange(ids.shape[1], device=ids.device) <= ends
