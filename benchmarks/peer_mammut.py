"""MaMMUT written straightforwardly from open_clip's classes, as the peer of benchmarks/models.py.

Two separate passes through the text blocks, a float causal mask, logits at every position kept whole, and
cross-entropy that ignores padding. `discarded_product` adds what the released code does on top: the vocabulary product
of the contrastive pass, thrown away.
"""

import torch
from open_clip.model import CLIPVisionCfg, _build_vision_tower
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from mammut_clip.config.model import MammutConfig


class PlainMammut(nn.Module):
    """The architecture of a MammutConfig whose decoder blocks all have an MLP or none before cross-attention."""

    def __init__(self, config: MammutConfig, *, discarded_product: bool) -> None:
        super().__init__()
        vision, text = config.vision_cfg, config.text_cfg
        self.discarded_product = discarded_product
        self.ratio = text.cross_attn_ratio
        sizes = CLIPVisionCfg(
            layers=vision.layers,
            width=vision.width,
            head_width=vision.head_width,
            patch_size=vision.patch_size,
            image_size=vision.image_size,
            final_ln_after_pool=True,
            pool_type="avg",  # leaves out the class token, which costs the same
            output_tokens=True,
        )
        self.visual = _build_vision_tower(config.embed_dim, sizes)
        self.map_viz2txt_kv = nn.Parameter(torch.randn(vision.width, text.width))
        self.token_embedding = nn.Embedding(text.vocab_size, text.width)
        self.positional_embedding = nn.Parameter(torch.randn(text.context_length, text.width) * 0.01)
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(text.width, text.heads) for _ in range(text.layers))
        for layer, block in enumerate(self.resblocks):
            if not text.layer_has_mlp(layer):
                block.ln_2 = block.mlp = _Zero()
        self.cross_attn = nn.ModuleList(
            ResidualAttentionBlock(text.width, text.heads, is_cross_attention=True) for _ in range(text.cross_layers)
        )
        self.ln_final = nn.LayerNorm(text.width)
        self.text_projection = nn.Parameter(torch.randn(text.width, text.vocab_size) * text.width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(2.66))
        mask = torch.full((text.context_length - 1,) * 2, float("-inf")).triu_(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images [B, 3, H, W], ids [B, T] -> image and text features [B, D], logits [B, T - 1, V], labels."""
        pooled, tokens = self.visual(images)
        encoded = self._embed(ids)
        for block in self.resblocks:
            encoded = block(encoded)
        encoded = self.ln_final(encoded)
        if self.discarded_product:
            encoded @ self.text_projection
        captioned, context = self._embed(ids[:, :-1]), tokens @ self.map_viz2txt_kv
        for layer, block in enumerate(self.resblocks):
            captioned = block(captioned, attn_mask=self.mask)
            if layer % self.ratio == 0:
                captioned = self.cross_attn[layer // self.ratio](captioned, k_x=context, v_x=context)
        logits = self.ln_final(captioned) @ self.text_projection
        images_out = nn.functional.normalize(pooled, dim=-1)
        return images_out, nn.functional.normalize(encoded.mean(dim=1), dim=-1), logits, ids[:, 1:]

    def _embed(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]


class _Zero(nn.Module):
    """Stands where a block has no MLP."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0
