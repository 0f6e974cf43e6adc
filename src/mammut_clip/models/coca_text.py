"""CoCa's text tower: causal, with a class token behind the text (Yu et al. 2022, as open_clip builds it).

Token ids come in; one feature per text, read at the class token, and the tokens that the decoder continues from go
out. Both come from one pass. Padding (id 0, which is also the token `!`) is masked as a key. The released models mask
one position too far to the right: the class token sees the first position of padding, and itself only where the text
fills the context. `correct_cls_mask` puts the mask where it belongs. Shapes: B batch, T text positions, L positions
that the decoder reads, D width, E embedding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mammut_clip.config.towers import CocaTextConfig
from mammut_clip.models.blocks import Block, Transformer
from mammut_clip.models.output import PAD_ID, check_length


class CocaTextTower(nn.Module):
    """Texts to features and tokens; parameter names as open_clip's `text.*`."""

    def __init__(self, config: CocaTextConfig, embed_dim: int, *, quick_gelu: bool = False) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.cls_emb = nn.Parameter(torch.empty(config.width))
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length + 1, config.width))
        self.transformer = Transformer(
            config.width, config.heads, config.layers, config.mlp_width, quick_gelu=quick_gelu
        )
        self.ln_final = nn.LayerNorm(config.width)
        self.text_projection = nn.Parameter(torch.empty(config.width, embed_dim))

    def forward(self, ids: Tensor | None, caption_ids: Tensor | None = None) -> tuple[Tensor | None, Tensor | None]:
        """Ids [B, T], caption ids [B, L] -> (features [B, E], tokens [B, L, D] before the last LayerNorm).

        Either may be left out. Where both are given, the caption ids are the first L columns of the ids, and the
        tokens are those of the one pass. T may be short: the missing columns count as padding. Raises ValueError
        where texts are too long, or captions longer than texts.
        """
        if ids is None:
            return None, None if caption_ids is None else self._without_class_token(caption_ids)
        encoded = self._with_class_token(ids)
        features = self.ln_final(encoded[:, -1]) @ self.text_projection
        if caption_ids is None:
            return features, None
        if caption_ids.shape[1] > ids.shape[1]:
            raise ValueError(f"captions have {caption_ids.shape[1]} positions, their texts {ids.shape[1]}")
        return features, encoded[:, : caption_ids.shape[1]].contiguous()

    def _without_class_token(self, ids: Tensor) -> Tensor:
        """[B, L] -> [B, L, D]: the tower is causal, so the token behind the text changes nothing before it."""
        encoded: Tensor = self.transformer(self.embed(ids), mask=_causal(self._keys(ids)[:, : ids.shape[1]]))
        return encoded

    def _with_class_token(self, ids: Tensor) -> Tensor:
        """[B, T] -> [B, T + 1 or T + 2, D], the class token last."""
        check_length(ids, self.config.context_length)
        if ids.shape[1] < self.config.context_length:
            ids = F.pad(ids, (0, 1), value=PAD_ID)  # as far as the released mask lets the class token see
        positions = self.positional_embedding
        tokens = self.token_embedding(ids) + positions[: ids.shape[1]]
        last = (self.cls_emb + positions[-1]).to(tokens.dtype).expand(len(ids), 1, -1)
        encoded: Tensor = self.transformer(torch.cat([tokens, last], dim=1), mask=_causal(self._keys(ids)))
        return encoded

    def embed(self, ids: Tensor, first: int = 0) -> Tensor:
        """[B, T] -> [B, T, D]; `first` is the position of the first column."""
        check_length(ids, self.config.context_length - first)
        return self.token_embedding(ids) + self.positional_embedding[first : first + ids.shape[1]]

    def _keys(self, ids: Tensor) -> Tensor:
        """[B, T] -> [B, T + 1] bool, true where a position, the class token's last, may be attended to."""
        filled = ids != PAD_ID
        always = filled.new_ones(len(ids), 1)
        return torch.cat([filled, always] if self.config.correct_cls_mask else [always, filled], dim=1)

    def blocks(self) -> list[Block]:
        """The transformer blocks: the units for sharding, compiling and recomputing."""
        return list(self.transformer.resblocks)  # type: ignore[arg-type]


def _causal(keys: Tensor) -> Tensor:
    """[B, T] bool -> [B, 1, T, T] bool, true where a query may attend to a key: not after it, and not masked."""
    length = keys.shape[1]
    past = torch.ones(length, length, dtype=torch.bool, device=keys.device).tril()
    return past & keys[:, None, None]
