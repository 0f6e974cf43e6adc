"""CoCa's image tower: a vision transformer whose tokens are pooled by learned queries (Yu et al. 2022, as open_clip
builds it).

Pixels come in; one feature per image, and what the decoder attends to, go out. Shapes: B batch, N image tokens, Q
queries, D width of the vision transformer, E embedding, H heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mammut_clip.config.towers import CocaVisionConfig
from mammut_clip.models.blocks import Attention
from mammut_clip.models.vision import VisionTrunk


class UnequalAttention(Attention):
    """Attention to a context of another width: one matrix each for query, key and value, and one packed bias, as
    torch's MultiheadAttention has them then."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__(width, heads)
        del self.in_proj_weight
        self.q_proj_weight = nn.Parameter(torch.empty(width, width))
        self.k_proj_weight = nn.Parameter(torch.empty(width, context_width))
        self.v_proj_weight = nn.Parameter(torch.empty(width, context_width))

    def queries(self, x: Tensor) -> Tensor:
        """[B, Q, E] -> [B, H, Q, E / H]."""
        bias, _, _ = self.in_proj_bias.chunk(3)
        (query,) = self._split(F.linear(x, self.q_proj_weight, bias), 1)
        return query

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, D] -> keys and values, each [B, H, N, E / H]."""
        _, key_bias, value_bias = self.in_proj_bias.chunk(3)
        (key,) = self._split(F.linear(context, self.k_proj_weight, key_bias), 1)
        (value,) = self._split(F.linear(context, self.v_proj_weight, value_bias), 1)
        return key, value


class AttentionalPooler(nn.Module):
    """Learned queries that attend to the image tokens; the same queries for every image."""

    def __init__(self, width: int, context_width: int, heads: int, queries: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(queries, width))
        same = width == context_width
        self.attn = Attention(width, heads) if same else UnequalAttention(width, context_width, heads)
        self.ln_q = nn.LayerNorm(width)
        self.ln_k = nn.LayerNorm(context_width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] -> [B, Q, E]."""
        query = self.attn.queries(self.ln_q(self.query)[None])  # once, and not once per image
        key, value = self.attn.keys_values(self.ln_k(tokens))
        return self.attn.attend(query.expand(len(tokens), -1, -1, -1), key, value)


class CocaVisionTower(VisionTrunk):
    """Images to features, and to the tokens that captions are made from."""

    config: CocaVisionConfig

    def __init__(self, config: CocaVisionConfig, embed_dim: int, *, quick_gelu: bool = False) -> None:
        super().__init__(config, quick_gelu=quick_gelu)
        self.attn_pool = AttentionalPooler(
            embed_dim, config.width, config.attn_pooler_heads, config.attn_pooler_queries
        )
        self.ln_post = nn.LayerNorm(embed_dim)
        self.proj = nn.Parameter(torch.empty(embed_dim, embed_dim))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Images [B, 3, height, width] -> (features [B, E], context [B, Q - 1, E]).

        The first query gives the feature, the others what the decoder attends to.
        """
        pooled = self.attn_pool(self.tokens(images))
        # normed apart: the context is then contiguous, which every cross-attention block would make it otherwise
        return self.ln_post(pooled[:, 0]) @ self.proj, self.ln_post(pooled[:, 1:])
