"""MaMMUT's text tower: one stack of blocks, run in two ways (Kuo et al. 2023, as LAION released it).

    encode    no mask, no cross-attention; the mean of all positions is the text feature
    caption   causal, with cross-attention to image tokens; every position predicts the next id

Both passes go through a block in one call, so that FSDP gathers its weights once. Cross-attention block j follows
self-attention block j * cross_attn_ratio. Parameter names are the released ones. Shapes: B batch, T text positions, L
positions that are captioned, M positions with a label, N image tokens, D width, V vocabulary.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.towers import DecoderConfig, MammutTextConfig
from mammut_clip.models.blocks import Block, CrossAttentionBlock, SelfAttentionBlock
from mammut_clip.models.kv_cache import CachedBlock, DecoderCache
from mammut_clip.models.output import CaptionLoss, Captions, check_length, labelled, text_mask


class TwoPassBlock(SelfAttentionBlock):
    """Self-attention and MLP for tokens of the contrastive pass, of the captioning pass, or of both."""

    def run(  # type: ignore[override]
        self, encoded: Tensor | None, captioned: Tensor | None, mask: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Encoded [B, T, D] attend both ways within `mask`, captioned [B, L, D] to what precedes them."""
        if encoded is not None:
            encoded = super().run(encoded, mask=mask)
        if captioned is not None:
            captioned = super().run(captioned, causal=True)
        return encoded, captioned


class TextDecoder(nn.Module):
    """The two-pass decoder. `text_projection` [D, V] is the vocabulary head, not tied to the embedding."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.pools_all = not (isinstance(config, MammutTextConfig) and config.text_pooling == "mean_valid")
        width, heads, hidden = config.width, config.heads, config.mlp_width
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, width))
        self.resblocks = nn.ModuleList(
            TwoPassBlock(width, heads, hidden if config.layer_has_mlp(layer) else None)
            for layer in range(config.layers)
        )
        self.cross_attn = nn.ModuleList(CrossAttentionBlock(width, heads, hidden) for _ in range(config.cross_layers))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, config.vocab_size))

    def forward(
        self,
        ids: Tensor | None,
        captions: Captions | None = None,
        context: Tensor | None = None,
        caption_loss: CaptionLoss | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Ids [B, T], captions, context [B, N, D] -> (text features [B, D], sum of the caption losses []).

        Either may be left out. The loss is computed here, where the vocabulary head is whole under FSDP.
        """
        encoded = mask = None
        if ids is not None:
            encoded, mask = self.embed(ids), self._mask(ids)
        captioned = None if captions is None else self.embed(captions.ids)
        encoded, captioned = self._run(encoded, captioned, context, None if mask is None else mask[:, None, None])
        features = None if encoded is None else self._pool(encoded, mask)
        if captions is None or captioned is None or caption_loss is None:
            return features, None
        hidden = self.ln_final(labelled(captioned, captions))
        return features, caption_loss(hidden, self.text_projection, captions.labels)

    def caption_logits(self, ids: Tensor, context: Tensor) -> Tensor:
        """Ids [B, L], context [B, N, D] -> [B, L, V]: what each position predicts as the next id."""
        _, captioned = self._run(None, self.embed(ids), context, None)
        assert captioned is not None
        return self.ln_final(captioned) @ self.text_projection

    def next_logits(self, ids: Tensor, cache: DecoderCache) -> Tensor:
        """As Captioner; the cache is one of `cached_blocks`."""
        x = cache.run(self.embed(ids, cache.length))
        return self.ln_final(x[:, -1]) @ self.text_projection

    def cached_blocks(self) -> list[CachedBlock]:
        """The blocks in the order in which a captioned token passes through them."""
        ratio = self.config.cross_attn_ratio
        blocks: list[nn.Module] = []
        for layer, block in enumerate(self.resblocks):
            blocks += [block, self.cross_attn[layer // ratio]] if layer % ratio == 0 else [block]
        return blocks  # type: ignore[return-value]

    def _run(
        self, encoded: Tensor | None, captioned: Tensor | None, context: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        ratio = self.config.cross_attn_ratio
        for layer, block in enumerate(self.resblocks):
            encoded, captioned = block(encoded, captioned, mask)
            if captioned is not None and layer % ratio == 0:
                captioned = self.cross_attn[layer // ratio](captioned, context)
        return encoded, captioned

    def _mask(self, ids: Tensor) -> Tensor | None:
        """[B, T] true at each text's own positions; None where padding counts."""
        if not self.pools_all:
            return text_mask(ids)
        if ids.shape[1] != self.config.context_length:
            raise ValueError(
                f"texts have {ids.shape[1]} positions; MaMMUT averages over all "
                f"{self.config.context_length}: pad them to that length"
            )
        return None

    def _pool(self, encoded: Tensor, mask: Tensor | None) -> Tensor:
        """[B, T, D] -> [B, D]: the mean over all positions, or over those in `mask`."""
        normed = self.ln_final(encoded)
        if mask is None:
            return normed.mean(dim=1)
        share = mask.to(normed.dtype) / mask.sum(dim=1, keepdim=True)
        return (normed * share[..., None]).sum(dim=1)

    def embed(self, ids: Tensor, first: int = 0) -> Tensor:
        """[B, T] -> [B, T, D]; `first` is the position of the first column."""
        check_length(ids, self.config.context_length - first)
        return self.token_embedding(ids) + self.positional_embedding[first : first + ids.shape[1]]

    def blocks(self) -> list[Block]:
        """The transformer blocks: the units for sharding, compiling and recomputing."""
        return [*self.resblocks, *self.cross_attn]
