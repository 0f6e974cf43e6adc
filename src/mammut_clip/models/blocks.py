"""The parts that both towers are made of: attention, MLP and the residual block around them.

Parameter names are open_clip's, so that published weights fit. Attention goes through torch's
scaled_dot_product_attention without a mask tensor: causality is a flag, which keeps the flash kernel in play.
Shapes: B batch, T positions of the tokens at hand, S positions of the context, D width, H heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention; the input projection is packed as torch's (rows: query, key, value)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None, causal: bool = False) -> Tensor:
        """[B, T, D] -> [B, T, D]: attention of `x` to itself, or to `context` [B, S, D] where given."""
        batch, positions, width = x.shape
        if context is None:
            packed = F.linear(x, self.in_proj_weight, self.in_proj_bias)
            query, key, value = packed.view(batch, positions, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        else:
            weight_q, weight_kv = self.in_proj_weight.split([width, 2 * width])
            bias_q, bias_kv = self.in_proj_bias.split([width, 2 * width])
            query = F.linear(x, weight_q, bias_q).view(batch, positions, self.heads, -1).transpose(1, 2)
            packed = F.linear(context, weight_kv, bias_kv)
            key, value = packed.view(batch, context.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)  # [B, H, T, D / H]
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, positions, width))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.c_proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        return self.c_proj(F.gelu(self.c_fc(x)))


class LayerScale(nn.Module):
    """A learned factor per channel on a residual branch (Touvron et al. 2021)."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.start = start
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        return x * self.gamma


class SelfAttentionBlock(nn.Module):
    """Pre-norm self-attention, then a pre-norm MLP where the block has one (`mlp_width` is not None)."""

    def __init__(self, width: int, heads: int, mlp_width: int | None, layer_scale: float | None = None) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ls_1 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.mlp: Mlp | None = None
        if mlp_width is not None:
            self.ln_2 = nn.LayerNorm(width)
            self.mlp = Mlp(width, mlp_width)
            self.ls_2 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = x + self.ls_1(self.attn(self.ln_1(x), causal=causal))
        if self.mlp is None:
            return x
        return x + self.ls_2(self.mlp(self.ln_2(x)))


class CrossAttentionBlock(nn.Module):
    """Pre-norm attention from text tokens to image tokens, then a pre-norm MLP."""

    def __init__(self, width: int, heads: int, mlp_width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.ln_1_kv = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, mlp_width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """[B, T, D], context [B, N, D] -> [B, T, D]."""
        x = x + self.attn(self.ln_1(x), self.ln_1_kv(context))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A stack of self-attention blocks, under the key that open_clip gives it."""

    def __init__(self, width: int, heads: int, layers: int, mlp_width: int, layer_scale: float | None = None) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(SelfAttentionBlock(width, heads, mlp_width, layer_scale) for _ in range(layers))

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        for block in self.resblocks:
            x = block(x, causal=causal)
        return x
