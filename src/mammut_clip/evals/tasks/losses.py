"""The losses of training on held-out pairs: contrastive at a stated batch size, and captioning."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import EvalSet, open_eval_set
from mammut_clip.evals.metrics.losses import sigmoid_pair_loss, softmax_pair_loss
from mammut_clip.evals.sharing import Rows
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics
from mammut_clip.models.likelihood import label_counts, token_log_likelihoods
from mammut_clip.models.output import Captions, ModelOutput, make_captions

Loss = Literal["contrastive", "caption"]


class LossesConfig(TaskConfig):
    """Pairs in the order of the set, each picture with its first caption."""

    kind: Literal["losses"]
    """Losses on held-out pairs: contrastive_loss, caption_loss, and the number of pairs that they are means over."""
    loss_batch_size: int = Field(ge=2)
    """Pairs that the contrastive loss tells from each other. It grows with them, so that only losses at the same number
    compare. Pairs behind the last whole batch are left out of both losses."""
    losses: tuple[Loss, ...] = Field(("contrastive", "caption"), min_length=1)
    """Which losses; a model must have them all. The first is the one that averages show."""


@dataclass(frozen=True)
class HeldOut:
    """What the losses are made of; on ranks other than 0 without rows."""

    rows: Rows
    """images and texts [n, E] of unit length, and for captions log_likelihoods [n] and tokens [n]."""
    scale: float | None
    """The model's factor on similarities."""
    bias: float | None
    """What a model under the sigmoid loss adds to them."""


@dataclass(frozen=True)
class Losses:
    """Held-out pairs."""

    config: LossesConfig
    dataset: EvalSet
    metric: str
    benchmark_name: str = "losses"

    def __len__(self) -> int:
        return len(self.dataset)

    def unfit(self, subject: Subject) -> str | None:
        """As Task."""
        if "caption" in self.config.losses and not subject.writes_captions:
            return "scores captions by a decoder, and this model has none (losses = [contrastive] asks for no captions)"
        if "contrastive" in self.config.losses and not subject.has_features:
            return "compares features, and this model has none (losses = [caption] asks for none)"
        if "contrastive" in self.config.losses and not isinstance(getattr(subject.model, "logit_scale", None), Tensor):
            return "takes the contrastive loss with the model's own logit_scale, and this model has none"
        return None

    def definition(self) -> dict[str, Any]:
        """As Task."""
        return {}

    def collect(self, subject: Subject) -> HeldOut:
        """As Task."""

        def load(number: int) -> tuple[Tensor, str]:
            sample = self.dataset[number]
            assert isinstance(sample.target, list)
            return subject.pixels(sample.image, self.dataset.where(number)), sample.target[0]

        def compute(batch: list[tuple[Tensor, str]]) -> Rows:
            ids = subject.tokenizer([caption for _, caption in batch])
            return self._forward(subject, subject.batch([pixels for pixels, _ in batch]), ids)

        size = self.config.loss_batch_size
        rows = subject.shared.rows(len(self) // size * size, self.config.batch_size, load, compute)
        return HeldOut(rows, *_scale_and_bias(subject.model))

    def _forward(self, subject: Subject, images: Tensor, ids: Tensor) -> Rows:
        """Images [B, 3, S, S] and ids [B, T] -> rows of HeldOut; both tasks in one pass, as in training."""
        model, features, on_device = subject.model, "contrastive" in self.config.losses, ids.to(subject.device)
        if "caption" not in self.config.losses:
            with subject.computing():
                return {"images": model.encode_image(images), "texts": model.encode_text(on_device)}  # type: ignore[operator]
        captions = make_captions(ids)
        places = captions.positions.to(subject.device)
        tokens: list[Tensor] = []

        def keep(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
            tokens.append(token_log_likelihoods(hidden, head, labels))
            return -tokens[0].sum()

        read = Captions(captions.ids.to(subject.device), places, captions.labels.to(subject.device))
        with subject.computing():
            output: ModelOutput = model(images, on_device if features else None, read, keep)
        every = tokens[0].new_zeros(read.ids.numel()).index_copy(0, places, tokens[0])  # each place once
        rows = {"log_likelihoods": every.view(read.ids.shape).sum(dim=1), "tokens": label_counts(ids)}
        if output.image_features is not None and output.text_features is not None:
            rows |= {"images": output.image_features, "texts": output.text_features}
        return rows

    def score(self, collected: HeldOut, device: torch.device) -> Metrics:
        """As Task."""
        rows, metrics = collected.rows, {}
        if "images" in rows:
            size = self.config.loss_batch_size
            batches = zip(rows["images"].split(size), rows["texts"].split(size), strict=True)
            losses = [_pair_loss(collected, images.to(device), texts.to(device)) for images, texts in batches]
            metrics["contrastive_loss"] = sum(losses) / len(losses)
        if "tokens" in rows:
            total = -rows["log_likelihoods"].double().sum() / rows["tokens"].sum().clamp(min=1)
            metrics["caption_loss"] = total.item()
        return metrics | {"pairs": float(len(next(iter(rows.values()))))}


def _scale_and_bias(model: nn.Module) -> tuple[float | None, float | None]:
    """The factor on similarities, and what is added to them; None where a model has none."""
    scale, bias = getattr(model, "logit_scale", None), getattr(model, "logit_bias", None)
    return None if scale is None else scale.float().exp().sum().item(), None if bias is None else bias.sum().item()


def _pair_loss(collected: HeldOut, images: Tensor, texts: Tensor) -> float:
    """The softmax loss of CLIP, or the sigmoid loss of a model with a logit bias."""
    assert collected.scale is not None
    if collected.bias is None:
        return softmax_pair_loss(images, texts, collected.scale)
    return sigmoid_pair_loss(images, texts, collected.scale, collected.bias)


def _open(config: LossesConfig, folder: Path) -> Losses:
    dataset = open_eval_set(config, folder)
    if dataset.type != "retrieval":
        raise InputError(f"{folder}: a {dataset.type} dataset, and task {config.name} asks for retrieval")
    if len(dataset) < config.loss_batch_size:
        raise InputError(
            f"task {config.name}: loss_batch_size = {config.loss_batch_size}: {folder} has only {len(dataset)} pairs"
        )
    return Losses(config, dataset, f"{config.losses[0]}_loss")


KIND = Kind(LossesConfig, _open)
