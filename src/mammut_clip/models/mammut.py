"""MaMMUT (Kuo et al. 2023, as LAION released it): contrastive like CLIP, and a captioner in one text tower.

Images and texts come in, a ModelOutput goes out. The images are encoded once for both passes. Shapes: B batch, T text
positions, N image tokens, D width, E embedding, V vocabulary.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.model import MammutConfig
from mammut_clip.models.blocks import Block
from mammut_clip.models.generate import Captioner
from mammut_clip.models.kv_cache import DecoderCache
from mammut_clip.models.mammut_text import TextDecoder
from mammut_clip.models.output import (
    CaptionLoss,
    Captions,
    ModelOutput,
    exponentiated,
    finish,
    whole_caption_task,
)
from mammut_clip.models.vision import VisionTower


class MaMMUT(Captioner):
    """A contrastive and captioning model; parameters are left uninitialised (see build_model)."""

    def __init__(self, config: MammutConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = VisionTower(config.vision_cfg, config.embed_dim)
        self.text = TextDecoder(config.text_cfg)
        self.map_viz2txt_kv = nn.Parameter(torch.empty(config.vision_cfg.width, config.text_cfg.width))
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
        context = None if captions is None else self._context(tokens)
        text_features, loss_sum = self.text(ids, captions, context, caption_loss)
        if text_features is None:
            return ModelOutput(caption_loss_sum=loss_sum)
        return ModelOutput(
            finish(features, normalize=True),
            finish(text_features, normalize=True),
            exponentiated(self.logit_scale),
            caption_loss_sum=loss_sum,
        )

    def encode_image(self, images: Tensor, normalize: bool = True) -> Tensor:
        """[B, 3, height, width] -> [B, E] float32."""
        features, _ = self.visual(images)
        return finish(features, normalize)

    def encode_text(self, ids: Tensor, normalize: bool = True) -> Tensor:
        """[B, T] -> [B, E] float32; T is the model's context length where padding counts in the mean."""
        features, _ = self.text(ids)
        return finish(features, normalize)

    def caption_logits(self, images: Tensor, ids: Tensor) -> Tensor:
        """[B, 3, height, width], ids [B, T] -> [B, T-1, V] float32, to look at; training never holds it."""
        _, tokens = self.visual(images)
        return self.text.caption_logits(whole_caption_task(ids), self._context(tokens)).float()

    def start_captions(self, images: Tensor, longest: int) -> DecoderCache:
        """As Captioner."""
        _, tokens = self.visual(images)
        return DecoderCache(self.text.cached_blocks(), self._context(tokens), longest)

    def next_logits(self, ids: Tensor, cache: DecoderCache) -> Tensor:
        """As Captioner."""
        return self.text.next_logits(ids, cache)

    def _context(self, tokens: Tensor) -> Tensor:
        """Image tokens [B, N, vision width] -> [B, N, D], what the decoder attends to."""
        return tokens @ self.map_viz2txt_kv.to(tokens.dtype)

    def blocks(self) -> list[Block]:
        """The transformer blocks: the units for sharding, compiling and recomputing."""
        return [*self.visual.blocks(), *self.text.blocks()]

    def parts(self) -> list[list[nn.Module]]:
        """What is sharded together besides the blocks; parameters in none of these stay in float32."""
        return [[self.visual], [self.text]]
