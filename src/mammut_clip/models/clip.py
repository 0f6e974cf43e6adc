"""CLIP (Radford et al. 2021): an image tower and a causal text tower that meet in one space.

Images and ids come in, a ModelOutput goes out. The text tower's parameters stand at the top level of the
model, as in open_clip, so that state dicts fit both ways. Shapes: B batch, T text positions, D width, E
embedding.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.model import ModelConfig
from mammut_clip.models.blocks import Transformer
from mammut_clip.models.output import CaptionLoss, ModelOutput, check_length, exponentiated, finish
from mammut_clip.models.vision import VisionTower


class CLIP(nn.Module):
    """A contrastive model; parameters are left uninitialised (see build_model)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        text = config.text_cfg
        self.visual = VisionTower(config.vision_cfg, config.embed_dim)
        self.token_embedding = nn.Embedding(text.vocab_size, text.width)
        self.positional_embedding = nn.Parameter(torch.empty(text.context_length, text.width))
        self.transformer = Transformer(text.width, text.heads, text.layers, text.mlp_width)
        self.ln_final = nn.LayerNorm(text.width)
        self.text_projection = nn.Parameter(torch.empty(text.width, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.empty(1))  # FSDP2 refuses 0-dim parameters

    def forward(self, images: Tensor, ids: Tensor, caption_loss: CaptionLoss | None = None) -> ModelOutput:
        """Images [B, 3, height, width] and ids [B, T] -> ModelOutput without the caption fields.

        Takes a `caption_loss` so that a trainer calls both families alike; CLIP writes no captions.
        """
        return ModelOutput(
            self.encode_image(images), self.encode_text(ids), exponentiated(self.logit_scale), None, None
        )

    def encode_image(self, images: Tensor, normalize: bool = True) -> Tensor:
        """[B, 3, height, width] -> [B, E] float32."""
        features, _ = self.visual(images)
        return finish(features, normalize)

    def encode_text(self, ids: Tensor, normalize: bool = True) -> Tensor:
        """[B, T] -> [B, E] float32. T may be short: what follows the end of text is not seen."""
        check_length(ids, self.config.text_cfg.context_length)
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        x = self.transformer(x, causal=True)
        ends = ids.argmax(dim=-1)  # the end of text is the largest id
        x = self.ln_final(x[torch.arange(len(ids), device=ids.device), ends])
        return finish(x @ self.text_projection, normalize)

    def blocks(self) -> list[nn.Module]:
        """The transformer blocks: the units for sharding, compiling and recomputing."""
        return [*self.visual.transformer.resblocks, *self.transformer.resblocks]
