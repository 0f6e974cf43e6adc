"""One optimiser step on one global batch, each rank holding its rows."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import all_reduce_sum
from mammut_clip.losses import chunked_caption_loss, contrastive_loss
from mammut_clip.train.parallel import compute_precision, log_scale_of


@dataclass(frozen=True)
class LossTerms:
    """Losses on this rank, as tensors: the mean over ranks is the loss of the global batch."""

    total: torch.Tensor
    contrastive: torch.Tensor | None
    caption: torch.Tensor | None


def cut_padding(ids: torch.Tensor, family: str) -> torch.Tensor:
    """Token ids [B, T] without the columns that change nothing; on the CPU, before they travel.

    CLIP's text tower is causal and reads its feature at the end token, so what follows the longest caption has no
    effect: without it a step is up to 2.7 times as fast (captions fill 15 to 25 of 77 positions). MaMMUT averages over
    all positions, padding included, and keeps them. Lengths are multiples of 8, so that few shapes occur.
    """
    if family != "clip":
        return ids
    longest = int(ids.argmax(dim=1).max()) + 1
    return ids[:, : -(-longest // 8) * 8]


def compute_losses(
    model: nn.Module, images: torch.Tensor, ids: torch.Tensor, config: RunConfig, process: Process
) -> LossTerms:
    """Forward pass and losses for images [B, 3, H, W] and token ids [B, T] of this rank.

    The captioning loss is the mean over all tokens of the global batch, so ranks with longer captions weigh more:
    the sum on each rank is scaled by W / (tokens on all ranks), because gradients are averaged over ranks afterwards.
    """
    weights = config.loss
    captions = config.model.architecture.family == "mammut" and weights.caption > 0
    with compute_precision(config, process):
        output = model(images, ids, chunked_caption_loss if captions else None)
    contrastive = caption = None
    total = output.image_features.new_zeros(())
    if weights.contrastive > 0:
        contrastive = contrastive_loss(output.image_features, output.text_features, output.logit_scale)
        total = total + weights.contrastive * contrastive
    if captions:
        tokens = all_reduce_sum(output.caption_tokens).clamp(min=1)
        caption = output.caption_loss_sum * process.world_size / tokens
        total = total + weights.caption * caption
    return LossTerms(total, contrastive, caption)


def optimiser_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, losses: LossTerms, lr: float, config: RunConfig
) -> torch.Tensor:
    """Backward pass and update at learning rate `lr`. Returns the norm of the gradient before clipping."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    losses.total.backward()
    limit = config.optimizer.clip_grad_norm
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(parameters, float("inf") if limit is None else limit)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        log_scale_of(model).clamp_(0, math.log(config.loss.max_logit_scale))
    return norm
