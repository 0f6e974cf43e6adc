"""Cap (Tschannen et al. 2023): MaMMUT's captioning half alone, a vision transformer trained by writing captions.

DecoderCaptioner is that half; Cap has nothing else.

Images and captions come in, a ModelOutput with nothing but the loss goes out. Parameter names are MaMMUT's. Shapes: B
batch, T text positions, N image tokens, D width, V vocabulary.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.model import CapConfig, MammutConfig
from mammut_clip.models.blocks import Block
from mammut_clip.models.generate import Captioner
from mammut_clip.models.kv_cache import DecoderCache
from mammut_clip.models.mammut_text import TextDecoder
from mammut_clip.models.output import CaptionLoss, Captions, ModelOutput
from mammut_clip.models.vision import VisionTrunk


class DecoderCaptioner(Captioner):
    """An image tower, and a decoder that attends to its tokens; a subclass says what else the model does."""

    config: MammutConfig | CapConfig
    visual: VisionTrunk

    def __init__(self, config: MammutConfig | CapConfig, visual: VisionTrunk) -> None:
        super().__init__()
        self.config = config
        self.visual = visual
        self.text = TextDecoder(config.text_cfg)
        self.map_viz2txt_kv = nn.Parameter(torch.empty(config.vision_cfg.width, config.text_cfg.width))

    def image_tokens(self, images: Tensor) -> Tensor:
        """[B, 3, height, width] -> [B, N, vision width]."""
        tokens: Tensor = self.visual(images)
        return tokens

    def caption_logits(self, images: Tensor, ids: Tensor) -> Tensor:
        """[B, 3, height, width], ids [B, T] -> [B, T-1, V] float32, to look at; training never holds it."""
        return self.text.caption_logits(ids[:, :-1], self.caption_context(images)).float()

    def caption_decoder(self) -> TextDecoder:
        """As Captioner."""
        return self.text

    def caption_context(self, images: Tensor) -> Tensor:
        """As Captioner."""
        return self.context(self.image_tokens(images))

    def caption_tokens(self, ids: Tensor) -> Tensor:
        """As Captioner."""
        return self.text.embed(ids)

    def start_captions(self, images: Tensor, longest: int) -> DecoderCache:
        """As Captioner."""
        return DecoderCache(self.text.cached_blocks(), self.caption_context(images), longest)

    def next_logits(self, ids: Tensor, cache: DecoderCache) -> Tensor:
        """As Captioner."""
        return self.text.next_logits(ids, cache)

    def context(self, tokens: Tensor) -> Tensor:
        """Image tokens [B, N, vision width] -> [B, N, D], what the decoder attends to."""
        return tokens @ self.map_viz2txt_kv.to(tokens.dtype)

    def blocks(self) -> list[Block]:
        """The transformer blocks: the units for sharding, compiling and recomputing."""
        return [*self.visual.blocks(), *self.text.blocks()]

    def parts(self) -> list[list[nn.Module]]:
        """What is sharded together besides the blocks; parameters in none of these stay in float32."""
        return [[self.visual], [self.text]]


class Cap(DecoderCaptioner):
    """A captioning model; parameters are left uninitialised (see build_model)."""

    def __init__(self, config: CapConfig) -> None:
        super().__init__(config, VisionTrunk(config.vision_cfg))

    def forward(
        self,
        images: Tensor,
        ids: Tensor | None = None,
        captions: Captions | None = None,
        caption_loss: CaptionLoss | None = None,
        kept_patches: Tensor | None = None,
    ) -> ModelOutput:
        """Images [B, 3, height, width] and captions -> ModelOutput with the sum of the caption losses.

        Takes ids so that a trainer calls all families alike, and raises ValueError where there are any.
        `kept_patches` as in VisionTrunk.
        """
        if ids is not None:
            raise ValueError("a cap model has no text features")
        if captions is None or caption_loss is None:
            return ModelOutput()
        context = self.context(self.visual(images, kept_patches))
        _, loss_sum = self.text(None, captions, context, caption_loss)
        return ModelOutput(caption_loss_sum=loss_sum)
