"""CoCa (Yu et al. 2022, as open_clip builds it): contrastive like CLIP, with a captioner above its text tower.

Images and texts come in, a ModelOutput goes out. Each tower runs once for both tasks. Shapes: B batch, T text
positions, S positions of the image context, D width, E embedding, V vocabulary.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.model import CocaConfig
from mammut_clip.models.blocks import Block
from mammut_clip.models.coca_decoder import CocaDecoder
from mammut_clip.models.coca_text import CocaTextTower
from mammut_clip.models.coca_vision import CocaVisionTower
from mammut_clip.models.generate import Captioner
from mammut_clip.models.kv_cache import DecoderCache
from mammut_clip.models.output import CaptionLoss, Captions, ModelOutput, both_tasks, finish


class CoCa(Captioner):
    """A contrastive and captioning model; parameters are left uninitialised (see build_model)."""

    def __init__(self, config: CocaConfig) -> None:
        super().__init__()
        self.config = config
        text, quick = config.text_cfg, config.quick_gelu
        self.visual = CocaVisionTower(config.vision_cfg, config.embed_dim, quick_gelu=quick)
        self.text = CocaTextTower(text, config.embed_dim, quick_gelu=quick)
        self.text_decoder = CocaDecoder(config.multimodal_cfg, text.vocab_size, quick_gelu=quick)
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

        Without `ids` no features are made, without `captions` and `caption_loss` no captioning pass; texts as in
        CocaTextTower. Raises ValueError where there are `kept_patches`.
        """
        if kept_patches is not None:
            raise ValueError("a coca model looks at all patches; it has no patch dropout")
        features, context = self.visual(images)
        loss_sum = None
        text_features, tokens = self.text(ids, None if captions is None else captions.ids)
        if captions is not None and caption_loss is not None:
            loss_sum = self.text_decoder(tokens, context, captions, caption_loss)
        return both_tasks(features, text_features, self.logit_scale, loss_sum)

    def encode_image(self, images: Tensor, normalize: bool = True) -> Tensor:
        """[B, 3, height, width] -> [B, E] float32."""
        features, _ = self.visual(images)
        return finish(features, normalize)

    def encode_text(self, ids: Tensor, normalize: bool = True) -> Tensor:
        """[B, T] -> [B, E] float32. T may be short: the missing columns count as padding."""
        features, _ = self.text(ids)
        return finish(features, normalize)

    def caption_logits(self, images: Tensor, ids: Tensor) -> Tensor:
        """[B, 3, height, width], ids [B, T] -> [B, T-1, V] float32, to look at; training never holds it."""
        tokens = self.caption_tokens(ids[:, :-1])
        return self.text_decoder.caption_logits(tokens, self.caption_context(images)).float()

    def caption_decoder(self) -> CocaDecoder:
        """As Captioner."""
        return self.text_decoder

    def caption_context(self, images: Tensor) -> Tensor:
        """As Captioner."""
        _, context = self.visual(images)
        return context

    def caption_tokens(self, ids: Tensor) -> Tensor:
        """As Captioner: the text tower is causal and knows of no image."""
        _, tokens = self.text(None, ids)
        return tokens

    def start_captions(self, images: Tensor, longest: int) -> DecoderCache:
        """As Captioner."""
        blocks = [*self.text.transformer.resblocks, *self.text_decoder.cached_blocks()]
        return DecoderCache(blocks, self.caption_context(images), longest)

    def next_logits(self, ids: Tensor, cache: DecoderCache) -> Tensor:
        """As Captioner; the class token comes after all texts and changes nothing in them."""
        return self.text_decoder.predict(cache.run(self.text.embed(ids, cache.length))[:, -1])

    def blocks(self) -> list[Block]:
        """The transformer blocks: the units for sharding, compiling and recomputing."""
        return [*self.visual.blocks(), *self.text.blocks(), *self.text_decoder.blocks()]

    def parts(self) -> list[list[nn.Module]]:
        """What is sharded together besides the blocks; parameters in none of these stay in float32."""
        return [[self.visual], [self.text], [self.text_decoder]]
