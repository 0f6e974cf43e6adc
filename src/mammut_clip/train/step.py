"""One optimiser step on one global batch, each rank holding its rows."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import all_reduce_sum
from mammut_clip.losses import chunked_caption_loss, contrastive_loss, sigmoid_loss
from mammut_clip.models.output import ModelOutput
from mammut_clip.train.inputs import StepInputs
from mammut_clip.train.parallel import compute_precision, log_scale_of


@dataclass(frozen=True)
class LossTerms:
    """Losses on this rank, as tensors: the mean over ranks is the loss of the global batch."""

    total: Tensor
    contrastive: Tensor | None
    caption: Tensor | None


def compute_losses(model: nn.Module, inputs: StepInputs, config: RunConfig, process: Process) -> LossTerms:
    """Forward pass and losses of this rank's rows."""
    captions = inputs.captions
    with compute_precision(config, process):
        output: ModelOutput = model(
            inputs.images,
            inputs.ids,
            captions,
            None if captions is None else chunked_caption_loss,
            inputs.kept_patches,
        )
    total = torch.zeros((), device=inputs.images.device)
    contrastive = caption = None
    if inputs.ids is not None:
        contrastive = _pair_loss(output)
        total = total + config.loss.contrastive * contrastive
    if captions is not None:
        caption = _mean_over_tokens(output, len(captions.labels), process)
        total = total + config.loss.caption * caption
    return LossTerms(total, contrastive, caption)


def _pair_loss(output: ModelOutput) -> Tensor:
    """The softmax loss of CLIP, or the sigmoid loss of a model with a logit bias."""
    images, texts, scale = output.image_features, output.text_features, output.logit_scale
    assert images is not None and texts is not None and scale is not None
    if output.logit_bias is None:
        return contrastive_loss(images, texts, scale)
    return sigmoid_loss(images, texts, scale, output.logit_bias)


def _mean_over_tokens(output: ModelOutput, tokens: int, process: Process) -> Tensor:
    """The mean over all tokens of the global batch, so that ranks with longer captions weigh more.

    The sum on each rank is scaled by W / (tokens on all ranks), because gradients are averaged over ranks afterwards.
    """
    assert output.caption_loss_sum is not None
    own = torch.full((), tokens, device=output.caption_loss_sum.device)  # filled there: nothing waits for a copy
    return output.caption_loss_sum * process.world_size / all_reduce_sum(own).clamp(min=1)


def optimiser_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, losses: LossTerms, lr: float, config: RunConfig
) -> Tensor:
    """Backward pass and update at learning rate `lr`. Returns the norm of the gradient before clipping."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    losses.total.backward()
    limit = config.optimizer.clip_grad_norm
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(parameters, float("inf") if limit is None else limit)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    log_scale = log_scale_of(model)
    if log_scale is not None:
        with torch.no_grad():
            log_scale.clamp_(0, math.log(config.loss.max_logit_scale))
    return norm
