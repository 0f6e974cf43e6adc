"""MaMMUT's text tower: one stack of blocks, run in two ways (Kuo et al. 2023, as LAION released it).

    encode    no mask, no cross-attention; the mean of all positions is the text feature
    caption   causal, with cross-attention to image tokens; every position predicts the next id

Cross-attention block j follows self-attention block j * cross_attn_ratio. Parameter names are the released
ones. Shapes: B batch, T text positions, N image tokens, D width, V vocabulary.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.model import TextConfig
from mammut_clip.models.blocks import CrossAttentionBlock, SelfAttentionBlock
from mammut_clip.models.output import check_length


class TextDecoder(nn.Module):
    """The two-pass decoder. `text_projection` [D, V] is the vocabulary head, not tied to the embedding."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        width, heads, hidden = config.width, config.heads, config.mlp_width
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, width))
        self.resblocks = nn.ModuleList(
            SelfAttentionBlock(width, heads, hidden if config.layer_has_mlp(layer) else None)
            for layer in range(config.layers)
        )
        self.cross_attn = nn.ModuleList(CrossAttentionBlock(width, heads, hidden) for _ in range(config.cross_layers))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, config.vocab_size))

    def encode(self, ids: Tensor) -> Tensor:
        """Ids [B, T] -> features [B, D]: the mean over all positions, padding included."""
        if ids.shape[1] != self.config.context_length:
            raise ValueError(
                f"texts have {ids.shape[1]} positions; MaMMUT averages over all "
                f"{self.config.context_length}: pad them to that length"
            )
        x = self._embed(ids)
        for block in self.resblocks:
            x = block(x)
        return self.ln_final(x).mean(dim=1)

    def caption(self, ids: Tensor, context: Tensor) -> Tensor:
        """Ids [B, T], context [B, N, D] -> hidden [B, T, D], from which the head reads the next id."""
        check_length(ids, self.config.context_length)
        x = self._embed(ids)
        ratio = self.config.layers // len(self.cross_attn)
        for layer, block in enumerate(self.resblocks):
            x = block(x, causal=True)
            if layer % ratio == 0:
                x = self.cross_attn[layer // ratio](x, context)
        return self.ln_final(x)

    def _embed(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
