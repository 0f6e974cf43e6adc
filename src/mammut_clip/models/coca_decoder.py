"""CoCa's decoder: above the text tower, self-attention and cross-attention in turn (Yu et al. 2022, as open_clip
builds it).

Tokens of the text tower and of the image come in; every text position predicts the next id. Parameter names are
open_clip's `text_decoder.*`. Shapes: B batch, L text positions, M positions with a label, S positions of the image
context, D width, V vocabulary.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.towers import MultimodalConfig
from mammut_clip.models.blocks import Block, CrossAttentionBlock, SelfAttentionBlock
from mammut_clip.models.kv_cache import CachedBlock
from mammut_clip.models.output import CaptionLoss, Captions, labelled


class CocaDecoder(nn.Module):
    """The captioner. `text_projection` [D, V] is the vocabulary head, not tied to the text tower's embedding."""

    def __init__(self, config: MultimodalConfig, vocab_size: int, *, quick_gelu: bool = False) -> None:
        super().__init__()
        width, heads, hidden, layers = config.width, config.heads, config.mlp_width, range(config.layers)
        self.resblocks = nn.ModuleList(SelfAttentionBlock(width, heads, hidden, quick_gelu=quick_gelu) for _ in layers)
        self.cross_attn = nn.ModuleList(
            CrossAttentionBlock(width, heads, hidden, quick_gelu=quick_gelu) for _ in layers
        )
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, vocab_size))

    def forward(self, tokens: Tensor, context: Tensor, captions: Captions, caption_loss: CaptionLoss) -> Tensor:
        """Tokens [B, L, D] of the text tower, context [B, S, D] -> the sum of the caption losses [].

        The loss is computed here, where the vocabulary head is whole under FSDP.
        """
        hidden = self.ln_final(labelled(self._run(tokens, context), captions))
        return caption_loss(hidden, self.text_projection, captions.labels)

    def caption_logits(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Tokens [B, L, D], context [B, S, D] -> [B, L, V]: what each position predicts as the next id."""
        return self.predict(self._run(tokens, context))

    def predict(self, hidden: Tensor) -> Tensor:
        """What the blocks give, [..., D] -> logits [..., V] of the next id."""
        logits: Tensor = self.ln_final(hidden) @ self.text_projection
        return logits

    def cached_blocks(self) -> list[CachedBlock]:
        """The blocks in the order in which a token passes through them."""
        pairs = zip(self.resblocks, self.cross_attn, strict=True)
        return [block for pair in pairs for block in pair]  # type: ignore[misc]

    def _run(self, x: Tensor, context: Tensor) -> Tensor:
        for block, cross_block in zip(self.resblocks, self.cross_attn, strict=True):
            x = cross_block(block(x, causal=True), context)
        return x

    def blocks(self) -> list[Block]:
        """The transformer blocks: the units for sharding, compiling and recomputing."""
        return [*self.resblocks, *self.cross_attn]
