"""The gradients of one optimiser step on one global batch, each rank holding its rows, taken at once or in parts.

In parts (micro-batches) the step is the same: the contrastive loss is that of the whole global batch, and not a mean
over smaller ones. As in GradCache (Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited
Setup"): (1) the features of each micro-batch are computed without gradients and kept; (2) the loss over all pairs is
taken once, and its gradient by each feature; (3) each micro-batch is computed again, with gradients, and those by its
features are passed back through it, together with those of its captions. Nothing holds the activations of more than
one micro-batch. Captioning needs no first pass: its loss is a sum over tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import all_reduce_sum
from mammut_clip.losses import PairLoss, chunked_caption_loss, contrastive_loss, sigmoid_loss
from mammut_clip.models.output import ModelOutput
from mammut_clip.train.inputs import MicroBatch, StepInputs
from mammut_clip.train.parallel import bare, compute_precision, one_of_several


@dataclass(frozen=True)
class LossTerms:
    """What this rank's rows say, as tensors [] on the device: the mean over ranks is that of the global batch."""

    total: Tensor
    """The weighted sum of the terms."""
    contrastive: Tensor | None
    """The contrastive or sigmoid loss."""
    caption: Tensor | None
    """The mean over the tokens of the captions."""
    accuracy: Tensor | None
    """The share of pairs that are told from all others of the global batch (see losses/pairs.py)."""

    def detached(self) -> "LossTerms":
        """Without what a backward pass needs."""
        terms = (self.contrastive, self.caption, self.accuracy)
        return LossTerms(self.total.detach(), *(None if term is None else term.detach() for term in terms))


def compute_gradients(model: nn.Module, inputs: StepInputs, config: RunConfig, process: Process) -> LossTerms:
    """Forward and backward pass of this rank's rows. Adds the gradients of the global batch's loss to `.grad`, which
    should be None before; returns the terms, without graph. Collective: every rank brings as many micro-batches."""
    if len(inputs.micro_batches) > 1:
        return _in_micro_batches(model, inputs, config, process)
    losses = compute_losses(model, inputs, config, process)
    losses.total.backward()
    return losses.detached()


def compute_losses(model: nn.Module, inputs: StepInputs, config: RunConfig, process: Process) -> LossTerms:
    """Forward pass and losses of this rank's rows, in one micro-batch; with the graph for a backward pass."""
    (rows,) = inputs.micro_batches
    output = _run(model, rows, config, process)
    pairs = None if rows.ids is None else _pair_loss(output)
    share = _share_of_token(inputs, process)
    loss_sum = output.caption_loss_sum
    return _terms(pairs, None if loss_sum is None or share is None else loss_sum * share, config)


def _terms(pairs: PairLoss | None, caption: Tensor | None, config: RunConfig) -> LossTerms:
    contrastive, accuracy = (None, None) if pairs is None else pairs
    weighted = [(config.loss.contrastive, contrastive), (config.loss.caption, caption)]
    parts = [weight * term for weight, term in weighted if term is not None]
    return LossTerms(torch.stack(parts).sum(), contrastive, caption, accuracy)


def _run(
    model: nn.Module, rows: MicroBatch, config: RunConfig, process: Process, *, captioning: bool = True
) -> ModelOutput:
    """Forward pass of some rows, which draws the same random numbers each time."""
    # a tower of another package may have dropout: its draws belong to the positions, not to what ran before
    torch.manual_seed(hash((config.seed, rows.positions.start - process.rank, process.rank)))
    captions = rows.captions if captioning else None
    # a context for each pass: autocast keeps the weights it has cast until its end, and first passes cast without graph
    with compute_precision(model, config, rows.images.device):
        output: ModelOutput = model(
            rows.normalized_images(),
            rows.ids,
            captions,
            None if captions is None else chunked_caption_loss,
            rows.kept_patches,
        )
    return output


def _pair_loss(output: ModelOutput) -> PairLoss:
    """The softmax loss of CLIP, or the sigmoid loss of a model with a logit bias."""
    images, texts, scale = output.image_features, output.text_features, output.logit_scale
    assert images is not None and texts is not None and scale is not None
    if output.logit_bias is None:
        return contrastive_loss(images, texts, scale)
    return sigmoid_loss(images, texts, scale, output.logit_bias)


def _share_of_token(inputs: StepInputs, process: Process) -> Tensor | None:
    """The factor [] that makes of sums over tokens the mean over all tokens of the global batch, so that ranks with
    longer captions weigh more; None where there are no captions.

    W / (tokens on all ranks), because gradients are averaged over ranks afterwards.
    """
    first = inputs.micro_batches[0]
    if first.captions is None:
        return None
    own = torch.full((), inputs.caption_tokens, device=first.images.device)  # filled there: nothing waits for a copy
    return process.world_size / all_reduce_sum(own).clamp(min=1)


def _in_micro_batches(model: nn.Module, inputs: StepInputs, config: RunConfig, process: Process) -> LossTerms:
    """As `compute_gradients`, with the memory of one micro-batch."""
    parts = inputs.micro_batches
    scored = None if parts[0].ids is None else _score(model, parts, config, process)
    share = _share_of_token(inputs, process)
    by_caption = None if share is None else config.loss.caption * share
    sums: list[Tensor] = []
    for number, rows in enumerate(parts):
        gradients = ModelOutput() if scored is None else scored.gradients[number]
        gradients = gradients._replace(caption_loss_sum=by_caption)
        with one_of_several(model, last=number + 1 == len(parts)):
            loss_sum = _pass_back(model, rows, gradients, config, process)
        if loss_sum is not None:
            sums.append(loss_sum)
    caption = None if share is None else torch.stack(sums).sum() * share
    return _terms(None if scored is None else scored.pairs, caption, config)


class _Scored(NamedTuple):
    """What the whole batch says of its pairs."""

    pairs: PairLoss
    """Without graph."""
    gradients: list[ModelOutput]
    """Of the weighted loss by each output of the model, for each micro-batch."""


def _score(model: nn.Module, parts: Sequence[MicroBatch], config: RunConfig, process: Process) -> _Scored:
    """The loss over all pairs of the global batch, and its gradient by what the model gives for each micro-batch."""
    with torch.no_grad():  # DDP has nothing to do here
        outputs = [_run(bare(model), rows, config, process, captioning=False) for rows in parts]
    # scale and bias are the same in each
    whole = outputs[-1]._replace(
        image_features=torch.cat([output.image_features for output in outputs if output.image_features is not None]),
        text_features=torch.cat([output.text_features for output in outputs if output.text_features is not None]),
    )
    leaves = [leaf.requires_grad_() for leaf in whole if leaf is not None]
    pairs = _pair_loss(whole)
    by_images, by_texts, *by_scalars = torch.autograd.grad(config.loss.contrastive * pairs.loss, leaves)
    sizes = [len(rows.positions) for rows in parts]
    # each micro-batch has all parameters in its graph, as DDP expects: scalars get their gradients in equal shares
    shares = [gradient / len(parts) for gradient in by_scalars]
    gradients = [
        ModelOutput(images, texts, *shares)
        for images, texts in zip(by_images.split(sizes), by_texts.split(sizes), strict=True)
    ]
    return _Scored(PairLoss(pairs.loss.detach(), pairs.accuracy), gradients)


def _pass_back(
    model: nn.Module, rows: MicroBatch, gradients: ModelOutput, config: RunConfig, process: Process
) -> Tensor | None:
    """Forward pass of some rows, and backward pass from the gradients by its outputs; the captions' summed loss.

    A function of its own, so that nothing of a micro-batch is left when the next one starts.
    """
    output = _run(model, rows, config, process)
    values = [value for value in output if value is not None]
    torch.autograd.backward(values, [gradient for gradient in gradients if gradient is not None])
    return None if output.caption_loss_sum is None else output.caption_loss_sum.detach()
