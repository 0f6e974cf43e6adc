"""MaMMUT (Kuo et al. 2023, as LAION released it): contrastive like CLIP, and a captioner in one text tower.

Images and texts come in, a ModelOutput goes out. The images are encoded once for both passes. Shapes: B batch, T text
positions, N image tokens, D width, E embedding, V vocabulary.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.model import MammutConfig
from mammut_clip.models.cap import DecoderCaptioner
from mammut_clip.models.output import CaptionLoss, Captions, ModelOutput, both_tasks, finish
from mammut_clip.models.vision import VisionTower


class MaMMUT(DecoderCaptioner):
    """A contrastive and captioning model; parameters are left uninitialised (see build_model)."""

    config: MammutConfig

    def __init__(self, config: MammutConfig) -> None:
        super().__init__(config, VisionTower(config.vision_cfg, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.empty(1))  # FSDP2 refuses 0-dim parameters

    def forward(
        self,
        images: Tensor,
        ids: Tensor | None,
        captions: Captions | None = None,
        caption_loss: CaptionLoss | None = None,
        kept_patches: Tensor | None = None,
    ) -> ModelOutput:
        """Images [B, 3, height, width], ids [B, T] -> ModelOutput.

        Without `ids` no features are made, without `captions` and `caption_loss` no captioning pass.
        `kept_patches` as in VisionTrunk.
        """
        features, tokens = self.visual(images, kept_patches)
        context = None if captions is None else self.context(tokens)
        text_features, loss_sum = self.text(ids, captions, context, caption_loss)
        return both_tasks(features, text_features, self.logit_scale, loss_sum)

    def encode_image(self, images: Tensor, normalize: bool = True) -> Tensor:
        """[B, 3, height, width] -> [B, E] float32."""
        features, _ = self.visual(images)
        return finish(features, normalize)

    def encode_text(self, ids: Tensor, normalize: bool = True) -> Tensor:
        """[B, T] -> [B, E] float32; T is the model's context length where padding counts in the mean."""
        features, _ = self.text(ids)
        return finish(features, normalize)

    def image_tokens(self, images: Tensor) -> Tensor:
        """As DecoderCaptioner."""
        _, tokens = self.visual(images)
        return tokens
