"""The parts that both towers are made of: attention, MLP and the residual block around them.

Parameter names are open_clip's, so that published weights fit. Attention goes through torch's
scaled_dot_product_attention, without a mask tensor wherever causality is all there is to say: it is a flag,
which keeps the flash kernel in play. Shapes: B batch, T positions of the tokens at hand, S positions of the
context, D width, H heads.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mammut_clip.models.kv_cache import ImageMemory, TextMemory
from mammut_clip.models.recompute import Recompute, run_block


class Attention(nn.Module):
    """Multi-head attention; the input projection is packed as torch's (rows: query, key, value)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]: attention of `x` to itself, or to `context` [B, S, D] where given.

        `mask`, broadcast to [B, H, T, S], is true where attention is allowed; it and `causal` exclude each other.
        """
        if context is None:
            query, key, value = self.queries_keys_values(x)
        else:
            query, (key, value) = self.queries(x), self.keys_values(context)
        return self.attend(query, key, value, causal=causal, mask=mask)

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, D] -> queries, keys and values of the same positions, each [B, H, T, D / H]."""
        query, key, value = self._split(F.linear(x, self.in_proj_weight, self.in_proj_bias), 3)
        return query, key, value

    def queries(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, H, T, D / H]."""
        width = x.shape[-1]
        (query,) = self._split(F.linear(x, self.in_proj_weight[:width], self.in_proj_bias[:width]), 1)
        return query

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S, D] -> keys and values, each [B, H, S, D / H]."""
        width = context.shape[-1]
        key, value = self._split(F.linear(context, self.in_proj_weight[width:], self.in_proj_bias[width:]), 2)
        return key, value

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        """Queries [B, H, T, D / H], keys and values [B, H, S, D / H] -> [B, T, D]."""
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, packed: Tensor, parts: int) -> tuple[Tensor, ...]:
        """[B, T, parts * D] -> `parts` times [B, H, T, D / H]."""
        batch, positions, _ = packed.shape
        return packed.view(batch, positions, parts, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them, or OpenAI's approximation of it."""

    def __init__(self, width: int, hidden: int, quick_gelu: bool = False) -> None:
        super().__init__()
        self.quick_gelu = quick_gelu
        self.c_fc = nn.Linear(width, hidden)
        self.c_proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        hidden = self.c_fc(x)
        return self.c_proj(hidden * torch.sigmoid(1.702 * hidden) if self.quick_gelu else F.gelu(hidden))


class LayerScale(nn.Module):
    """A learned factor per channel on a residual branch (Touvron et al. 2021)."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.start = start
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        return x * self.gamma


class Block(nn.Module):
    """The unit of sharding, compiling and recomputing; a subclass says in `run` what it computes."""

    recompute: Recompute = "none"
    """What the backward pass computes again instead of reading it from memory."""

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """As `run`."""
        return run_block(self.run, self.recompute, *inputs, **options)

    def run(self, *inputs: Any, **options: Any) -> Any:
        """The block's mathematics."""
        raise NotImplementedError


class SelfAttentionBlock(Block):
    """Pre-norm self-attention, then a pre-norm MLP where the block has one (`mlp_width` is not None)."""

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int | None,
        *,
        layer_scale: float | None = None,
        quick_gelu: bool = False,
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ls_1 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.mlp: Mlp | None = None
        if mlp_width is not None:
            self.ln_2 = nn.LayerNorm(width)
            self.mlp = Mlp(width, mlp_width, quick_gelu)
            self.ls_2 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)

    def run(self, x: Tensor, *, causal: bool = False, mask: Tensor | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D]; `mask` as in Attention."""
        return self.feed_forward(x + self.ls_1(self.attn(self.ln_1(x), causal=causal, mask=mask)))

    def start(self, context: Tensor, longest: int) -> TextMemory:
        """As CachedBlock."""
        return TextMemory(longest)

    def step(self, x: Tensor, memory: TextMemory) -> Tensor:
        """As CachedBlock: what a causal `run` over the whole text gives at the new positions."""
        query, key, value = self.attn.queries_keys_values(self.ln_1(x))
        mixed = self.attn.attend(query, *memory.append(key, value), causal=x.shape[1] > 1)
        return self.feed_forward(x + self.ls_1(mixed))

    def feed_forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]: the second half of the block."""
        return x if self.mlp is None else x + self.ls_2(self.mlp(self.ln_2(x)))


class CrossAttentionBlock(Block):
    """Pre-norm attention from text tokens to image tokens, then a pre-norm MLP."""

    def __init__(self, width: int, heads: int, mlp_width: int, *, quick_gelu: bool = False) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.ln_1_kv = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, mlp_width, quick_gelu)

    def run(self, x: Tensor, context: Tensor) -> Tensor:
        """[B, T, D], context [B, N, D] -> [B, T, D]."""
        return self.feed_forward(x + self.attn(self.ln_1(x), self.ln_1_kv(context)))

    def start(self, context: Tensor, longest: int) -> ImageMemory:
        """As CachedBlock."""
        return ImageMemory(*self.attn.keys_values(self.ln_1_kv(context)))

    def step(self, x: Tensor, memory: ImageMemory) -> Tensor:
        """As CachedBlock: `run` with the image's keys and values at hand."""
        # nothing here depends on position, so that the rows of an image may pass for positions of one text
        query = self.attn.queries(self.ln_1(x).view(len(memory.keys), -1, x.shape[-1]))
        mixed = self.attn.attend(query, memory.keys, memory.values)
        return self.feed_forward(x + mixed.view(x.shape))

    def feed_forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]: the second half of the block."""
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A stack of self-attention blocks, under the key that open_clip gives it."""

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        mlp_width: int,
        *,
        layer_scale: float | None = None,
        quick_gelu: bool = False,
    ) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(
            SelfAttentionBlock(width, heads, mlp_width, layer_scale=layer_scale, quick_gelu=quick_gelu)
            for _ in range(layers)
        )

    def forward(self, x: Tensor, *, causal: bool = False, mask: Tensor | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D]; `mask` as in Attention."""
        for block in self.resblocks:
            x = block(x, causal=causal, mask=mask)
        return x
