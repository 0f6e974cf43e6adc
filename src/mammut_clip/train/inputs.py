"""What a model is called with, made of a batch: on the CPU, while the device is still busy with the last step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mammut_clip.config.run import RunConfig
from mammut_clip.config.towers import VisionConfig
from mammut_clip.data.images import normalize
from mammut_clip.data.stream import Batch
from mammut_clip.models.output import Captions, cut_after_texts, make_captions
from mammut_clip.train.patch_dropout import kept_patches


@dataclass(frozen=True)
class MicroBatch:
    """The rows of a step that one process takes at a time, on its device."""

    images: Tensor
    """[B, 3, H, W]: float32 and normalised where they are all of the step; else uint8, to wait in a quarter of the
    memory."""
    ids: Tensor | None
    """[B, T] int64 for the text features; None where the loss has no use for them."""
    captions: Captions | None
    """The captioning task; None where the loss has no use for it."""
    kept_patches: Tensor | None
    """[B, K] int64, the patches that are looked at; None for all."""
    positions: range
    """Where in the data the rows stand."""

    def normalized_images(self) -> Tensor:
        """[B, 3, H, W] float32."""
        return self.images if self.images.is_floating_point() else normalize(self.images)

    def tensors(self) -> list[Tensor]:
        """All of them."""
        parts = (self.images, self.ids, *(self.captions or ()), self.kept_patches)
        return [part for part in parts if part is not None]


@dataclass(frozen=True)
class StepInputs:
    """One rank's part of a step, on its device."""

    micro_batches: tuple[MicroBatch, ...]
    """At least one, and as many on every rank."""

    @property
    def caption_tokens(self) -> int:
        """Positions with a label."""
        return sum(len(part.captions.labels) for part in self.micro_batches if part.captions is not None)

    def tensors(self) -> list[Tensor]:
        """All of them."""
        return [tensor for part in self.micro_batches for tensor in part.tensors()]


def prepare(batch: Batch, config: RunConfig, device: torch.device) -> StepInputs:
    """A batch without what changes nothing: columns behind the texts, labels of padding, passes of weight 0.

    Captions fill 15 to 25 of 77 positions. A causal tower that reads its feature at the end token (CLIP) needs no
    column behind the longest text, nor does any captioning pass; where padding counts in the feature, it stays.
    """
    count = len(batch.positions)
    size = config.parallel.micro_batch_size or count
    images = _travel(batch.images, device)
    if size >= count:
        images = normalize(images)
    rows = [slice(start, start + size) for start in range(0, count, size)]
    return StepInputs(tuple(_micro_batch(batch, own, images[own], config, device) for own in rows))


def _micro_batch(batch: Batch, own: slice, images: Tensor, config: RunConfig, device: torch.device) -> MicroBatch:
    model, ids, positions = config.model.architecture, batch.ids[own], batch.positions[own]
    captions = features = None
    if model.writes_captions and config.loss.caption > 0:
        captions = Captions(*(_travel(part, device) for part in make_captions(ids)))
    if model.has_features and config.loss.contrastive > 0:
        features = _travel(cut_after_texts(ids) if model.text_feature_ignores_padding else ids, device)
    return MicroBatch(images, features, captions, _kept_patches(positions, config, device), positions)


def _travel(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, copied without waiting, which needs dense and pinned memory."""
    if device.type == "cuda":
        layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
        tensor = tensor.contiguous(memory_format=layout)
        tensor = tensor if tensor.is_pinned() else tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _kept_patches(positions: range, config: RunConfig, device: torch.device) -> Tensor | None:
    vision = config.model.architecture.vision_cfg
    if not isinstance(vision, VisionConfig) or vision.kept_patches == vision.patches:
        return None
    return kept_patches(positions, config.seed, vision.patches, vision.kept_patches, device)
